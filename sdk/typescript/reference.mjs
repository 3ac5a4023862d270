// Writes the reference of the package, docs/api/typescript.md, out of the declarations that `src/index.ts` exports and
// their doc comments; or into the file that is named.
//
//   node reference.mjs [FILE]
//
// Sources are read by the compiler that is pinned here; its interface for that is not settled yet, and changes with it.
// It fails, and says where, when something that can be reached from outside has no doc comment, or has a type that
// nobody outside can name. Members marked `@internal` are left out. The page is the same on every machine: it is
// committed, and a suite refuses a difference.

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { API } from 'typescript/unstable/sync';
import { SyntaxKind, formatSyntaxKind } from 'typescript/unstable/ast';

const here = dirname(fileURLToPath(import.meta.url));
const output = resolve(process.argv[2] ?? join(here, '../../docs/api/typescript.md'));

const faults = [];
const api = new API({ cwd: here });
const snapshot = api.updateSnapshot({ openProjects: [join(here, 'tsconfig.json')] });
const { program } = snapshot.getProjects()[0];
const entry = source(join(here, 'src/index.ts'));
const exported = exportsOf(entry);
const names = new Set(exported.map(({ name }) => name));

const sections = exported.map(section);
const page = [
  '# TypeScript: `@mainstem/sdk`',
  '',
  'Written by `cargo xtask reference` from the doc comments of `sdk/typescript/src`; do not edit.',
  'How to begin is in [BROWSER.md](../BROWSER.md) and in the [README of the package](../../sdk/typescript/README.md).',
  '',
  ...contents(),
  ...sections.flat(),
].join('\n');
api.close();
if (faults.length > 0) {
  console.error(`the reference of @mainstem/sdk is not complete:\n${faults.map((fault) => `  ${fault}`).join('\n')}`);
  process.exit(1);
}
mkdirSync(dirname(output), { recursive: true });
writeFileSync(output, `${page.replace(/\n{3,}/g, '\n\n').trimEnd()}\n`);

/** The declarations behind a module's export lists, in their order. */
function exportsOf(file) {
  const found = [];
  for (const statement of file.statements) {
    if (statement.kind !== SyntaxKind.ExportDeclaration) continue;
    const from = source(join(dirname(file.fileName), statement.moduleSpecifier.text));
    for (const { name } of statement.exportClause.elements) found.push({ name: name.text, node: declared(from, name.text) });
  }
  return found;
}

function declared(file, name) {
  const node = file.statements.find((each) => each.name?.text === name);
  if (node === undefined) throw new Error(`${file.fileName} declares no ${name}`);
  return node;
}

function source(path) {
  const file = program.getSourceFile(path);
  if (file === undefined) throw new Error(`the project has no ${path}`);
  return file;
}

function contents() {
  const kinds = [
    ['Classes', SyntaxKind.ClassDeclaration],
    ['Functions', SyntaxKind.FunctionDeclaration],
    ['Types', SyntaxKind.InterfaceDeclaration, SyntaxKind.TypeAliasDeclaration],
  ];
  return kinds.flatMap(([title, ...of]) => {
    const some = exported.filter(({ node }) => of.includes(node.kind)).map(({ name }) => `[\`${name}\`](#${anchor(name)})`);
    return [`${title}: ${some.join(', ')}.`, ''];
  });
}

function anchor(name) {
  return name.toLowerCase();
}

function section({ name, node }) {
  const head = [`## ${name}`, '', ...docOf(node, name), ''];
  switch (node.kind) {
    case SyntaxKind.ClassDeclaration:
      return [...head, ...heritage(node), ...classMembers(name, node)];
    case SyntaxKind.InterfaceDeclaration:
      return [...head, ...heritage(node), ...fields(name, node.members), ...calls(name, node.members)];
    case SyntaxKind.TypeAliasDeclaration:
      checkTypes(name, node.type);
      return [...head, code(`type ${name} =${unionOf(node.type)}`), ''];
    case SyntaxKind.FunctionDeclaration:
      return [`## ${name}`, '', ...callable(name, node, '')];
    default:
      throw new Error(`${name}: no rule for ${formatSyntaxKind(node.kind)}`);
  }
}

/** A class: how it is made, what it has, what it does. */
function classMembers(name, node) {
  const open = node.members.filter((member) => !isHidden(member));
  const made = open.find((member) => member.kind === SyntaxKind.Constructor);
  const setters = new Set(open.filter((each) => each.kind === SyntaxKind.SetAccessor).map((each) => each.name.text));
  const lines = made === undefined ? [] : callable(`new ${name}`, made, 'new ');
  const had = open.filter((each) => each.kind === SyntaxKind.PropertyDeclaration || each.kind === SyntaxKind.GetAccessor);
  lines.push(...fields(name, had, setters), ...calls(name, open));
  return lines;
}

/** Properties, as a table. */
function fields(owner, members, setters = new Set()) {
  const kinds = [SyntaxKind.PropertySignature, SyntaxKind.PropertyDeclaration, SyntaxKind.GetAccessor];
  const rows = members.filter((member) => kinds.includes(member.kind) && !isHidden(member)).map((member) => {
    const name = member.name.text;
    const isOptional = member.questionToken !== undefined || member.postfixToken?.kind === SyntaxKind.QuestionToken;
    if (member.type === undefined) faults.push(`${owner}.${name}: no type is written`);
    else checkTypes(`${owner}.${name}`, member.type);
    const type = oneLine(member.type?.getText() ?? '').replace(/^\((.*)\) \| undefined$/, '$1').replace(/ \| undefined$/, '');
    const undefinedToo = / \| undefined$/.test(oneLine(member.type?.getText() ?? '')) && !isOptional ? ' | undefined' : '';
    const doc = docOf(member, `${owner}.${name}`).join(' ').replaceAll('|', '\\|');
    const isFixed = member.kind === SyntaxKind.GetAccessor && !setters.has(name);
    const shown = `\`${name}${isOptional ? '?' : ''}\``;
    return `| ${shown} | ${cell(type + undefinedToo)} | ${doc}${isFixed ? ' Read only.' : ''} |`;
  });
  return rows.length === 0 ? [] : ['| | type | |', '|---|---|---|', ...rows, ''];
}

/** Methods, each with its signature. */
function calls(owner, members) {
  const kinds = [SyntaxKind.MethodDeclaration, SyntaxKind.MethodSignature];
  const open = members.filter((member) => kinds.includes(member.kind) && !isHidden(member));
  return open.flatMap((member) => [`### ${owner}.${member.name.text}`, '', ...callable(`${owner}.${member.name.text}`, member, '')]);
}

function callable(where, node, prefix) {
  for (const parameter of node.parameters) {
    if (parameter.type === undefined) faults.push(`${where}: a parameter has no type`);
    else checkTypes(where, parameter.type);
  }
  if (node.type !== undefined) checkTypes(where, node.type);
  else if (node.kind !== SyntaxKind.Constructor) faults.push(`${where}: it does not say what it returns`);
  const text = node.getSourceFile().text;
  const written = text.slice(node.getStart(), node.body?.pos ?? node.end);
  let signature = oneLine(written).replace(/^(?:export |async |function )+/, '').replace(/,? \)/, ')').replace(/\( /, '(').replace(/;$/, '');
  if (prefix !== '') signature = signature.replace(/^constructor/, where);
  return [code(signature), '', ...docOf(node, where), ''];
}

function heritage(node) {
  const clauses = (node.heritageClauses ?? []).flatMap((clause) => {
    const word = clause.token === SyntaxKind.ExtendsKeyword ? 'Extends' : 'Is also a';
    return clause.types.map((type) => {
      const name = type.getText();
      return names.has(name) ? `${word} [\`${name}\`](#${anchor(name)}).` : `${word} \`${name}\`.`;
    });
  });
  return clauses.length === 0 ? [] : [clauses.join(' '), ''];
}

/** Private by its name or by its mark. */
function isHidden(member) {
  if (member.name?.kind === SyntaxKind.PrivateIdentifier) return true;
  if (member.modifiers?.some((each) => each.kind === SyntaxKind.PrivateKeyword || each.kind === SyntaxKind.ProtectedKeyword)) return true;
  return commentOf(member)?.includes('@internal') ?? false;
}

/** The doc comment before a declaration, without its stars. */
function commentOf(node) {
  const text = node.getSourceFile().text.slice(node.pos, node.getStart());
  const start = text.lastIndexOf('/**');
  const end = text.indexOf('*/', start);
  if (start < 0 || end < 0) return undefined;
  return text.slice(start + 3, end).split('\n').map((line) => line.replace(/^\s*\* ?/, '').trimEnd()).join('\n').trim();
}

/** The same as lines of Markdown, with what it says of parameters as a list. */
function docOf(node, where) {
  const comment = commentOf(node);
  if (comment === undefined || comment === '') {
    faults.push(`${where}: no doc comment`);
    return [''];
  }
  const [text, ...tags] = comment.split(/^@/m);
  const lines = text.trimEnd().split('\n');
  if (tags.length > 0) lines.push('');
  for (const tag of tags) {
    const [, name, about] = /^param (\S+) ([\s\S]+)$/.exec(tag.trim()) ?? [];
    if (name === undefined) faults.push(`${where}: the tag @${tag.split(' ')[0]} is not known here`);
    else lines.push(`- \`${name}\`: ${oneLine(about)}`);
  }
  return lines;
}

/** Every type of ours that is named must be exported too. */
function checkTypes(where, node) {
  if (node.kind === SyntaxKind.TypeReference) {
    const name = node.typeName.getText();
    const file = node.getSourceFile();
    const isImported = file.statements.some((each) => each.kind === SyntaxKind.ImportDeclaration && new RegExp(`\\b${name}\\b`).test(each.getText()));
    const isDeclared = file.statements.some((each) => each.name?.text === name);
    if ((isImported || isDeclared) && !names.has(name)) faults.push(`${where}: its type ${name} is not exported`);
  }
  node.forEachChild((child) => {
    checkTypes(where, child);
    return undefined;
  });
}

/** A union with a line for each of its parts, unless it is short. */
function unionOf(node) {
  const text = node.getText().replace(/^\s*\/\/.*$/gm, '');
  const flat = oneLine(text).replace(/^\| /, '');
  return flat.length <= 100 ? ` ${flat}` : `\n  | ${flat.split(' | ').join('\n  | ')}`;
}

function cell(type) {
  const words = `\`${type}\``.replaceAll('|', '\\|');
  return names.has(type.replace('[]', '')) ? `[${words}](#${anchor(type.replace('[]', ''))})` : words;
}

function oneLine(text) {
  return text.replace(/\s+/g, ' ').trim();
}

function code(text) {
  return `\`\`\`ts\n${text}\n\`\`\``;
}
