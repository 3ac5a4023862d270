"""Writes the reference of the package, docs/api/python.md, out of its sources' docstrings and annotations.

    python3 sdk/python/reference.py [FILE]

It reads the sources and imports nothing, so that it needs no build. It fails, and says where, when something public
has no docstring or no annotation. The page is the same on every machine and with every Python: it is committed, and a
suite refuses a difference. Members whose names begin with ``_`` are left out.
"""

import ast
import pathlib
import re
import sys
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = HERE / "python" / "mainstem"
PAGE = HERE.parent.parent / "docs" / "api" / "python.md"
#: The modules that people import, in the order of the page.
MODULES = ["mainstem.streams", "mainstem.aio", "mainstem"]
TITLES = {
    "mainstem.streams": "the control plane, viewers and publishers",
    "mainstem.aio": "the same for asyncio",
    "mainstem": "errors, and the version",
}

Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]


class Definition(NamedTuple):
    """A name, and where it is defined."""

    module: str
    node: ast.AST


class Field(NamedTuple):
    """An attribute that can be read."""

    name: str
    type: str
    default: str
    doc: str


class Source:
    """A module's text and tree."""

    def __init__(self, module: str) -> None:
        parts = module.split(".")[1:]
        path = PACKAGE.joinpath(*parts).with_suffix(".py") if parts else PACKAGE / "__init__.py"
        if not path.exists():
            path = path.with_suffix(".pyi")
        self.module = module
        self.text = path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.text)

    def segment(self, node: ast.AST) -> str:
        return " ".join((ast.get_source_segment(self.text, node) or "").split())

    def names(self) -> List[str]:
        """What ``__all__`` says."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and self.segment(node.targets[0]) == "__all__":
                return [str(name) for name in ast.literal_eval(node.value)]
        raise SystemExit(f"{self.module}: no __all__")


class Reference:
    """The page while it is written."""

    def __init__(self) -> None:
        self.sources: Dict[str, Source] = {}
        self.faults: List[str] = []
        #: Where each definition was written down, so that it stands once.
        self.written: Dict[int, Tuple[str, str]] = {}

    def source(self, module: str) -> Source:
        if module not in self.sources:
            self.sources[module] = Source(module)
        return self.sources[module]

    def find(self, module: str, name: str) -> Definition:
        """Follows imports to where ``name`` is defined."""
        source = self.source(module)
        for node in source.tree.body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name:
                return Definition(module, node)
            if isinstance(node, ast.AnnAssign) and source.segment(node.target) == name:
                return Definition(module, node)
            if isinstance(node, ast.ImportFrom) and any(each.name == name for each in node.names):
                package = "mainstem" if node.level else ""
                return self.find(".".join(filter(None, [package, node.module])), name)
        raise SystemExit(f"{module}: {name} is defined nowhere")

    def page(self) -> str:
        parts = [
            "# Python: `mainstem`",
            "Written by `cargo xtask reference` from the docstrings of `sdk/python/python/mainstem`; do not edit.\n"
            "How to begin is in [PYTHON.md](../PYTHON.md).",
        ]
        bodies = [(module, list(self.module(module))) for module in MODULES]
        for module, _ in bodies:
            links = [self.link(module, name) for name in sorted(self.source(module).names())]
            parts.append(f"[`{module}`](#{anchor(heading(module))}): {', '.join(links)}.")
        for module, body in bodies:
            parts.append(f"## {heading(module)}")
            parts.extend(body)
        return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"

    def link(self, module: str, name: str) -> str:
        definition = self.find(module, name)
        _, at = self.written.get(id(definition.node), (module, ""))
        return f"[`{name}`](#{at})" if at else f"`{name}`"

    def module(self, module: str) -> Iterator[str]:
        source = self.source(module)
        yield markdown(self.doc(source.tree, module))
        for name in source.names():
            definition = self.find(module, name)
            if id(definition.node) in self.written:
                continue
            title = f"{module}.{name}"
            self.written[id(definition.node)] = (module, anchor(title))
            yield f"### {title}"
            if isinstance(definition.node, ast.ClassDef):
                yield from self.class_(definition, title)
            elif isinstance(definition.node, ast.AnnAssign):
                yield f"`{self.source(definition.module).segment(definition.node)}`"
            else:
                raise SystemExit(f"{title}: no rule for {type(definition.node).__name__}")
        again = [name for name in source.names() if self.written[id(self.find(module, name).node)][0] != module]
        if again:
            links = [f"[`{name}`](#{self.written[id(self.find(module, name).node)][1]})" for name in sorted(again)]
            yield f"Here too: {', '.join(links)}."

    def class_(self, definition: Definition, title: str) -> Iterator[str]:
        node = definition.node
        assert isinstance(node, ast.ClassDef)
        source = self.source(definition.module)
        bases = [source.segment(base) for base in node.bases]
        public = [base for base in bases if not base.startswith("_") and base != "NamedTuple"]
        is_data = any("dataclass" in source.segment(each) for each in node.decorator_list)
        members = list(self.members(definition))
        made = [each for each in members if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)) and each.name == "__init__"]
        fields = list(self.fields(definition, title))
        # What an `open` gives is not made by hand.
        has_open = any(getattr(each, "name", "") == "open" for each in members)
        hidden = [each for each in members if isinstance(each, ast.AnnAssign) and source.segment(each.target).startswith("_")]
        if is_data and not hidden:
            shown = [f"{field.name}: {field.type}{field.default}" for field in fields]
            yield block(f"class {node.name}", shown, "")
        elif made and not has_open and not self.is_internal(made[0]):
            yield block(f"class {node.name}", self.parameters(source, made[0], title), "")
        if public:
            yield f"Base: {', '.join(f'`{base}`' for base in public)}."
        yield markdown(self.doc(node, title))
        if fields:
            rows = [f"| `{each.name}` | `{each.type}` | {each.doc} |" for each in fields]
            yield "\n".join(["| | type | |", "|---|---|---|", *rows])
        for member in members:
            if isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef)):
                if member.name.startswith("_") or is_property(member):
                    continue
                yield f"#### {title.rsplit('.', 1)[1]}.{member.name}" + ("" if not title.startswith("mainstem.aio") else " (asyncio)")
                yield from self.function(source, member, f"{title}.{member.name}")
        if {"__enter__", "__exit__"} <= {getattr(each, "name", "") for each in members}:
            yield "A context manager: its end is `close`."
        if {"__aenter__", "__aexit__"} <= {getattr(each, "name", "") for each in members}:
            yield "An asynchronous context manager: its end is `close`."

    def members(self, definition: Definition) -> Iterator[ast.AST]:
        """Those of private bases first."""
        node = definition.node
        assert isinstance(node, ast.ClassDef)
        own = {getattr(each, "name", "") for each in node.body}
        for base in node.bases:
            name = self.source(definition.module).segment(base)
            if name.startswith("_") and "." not in name:
                for each in self.members(self.find(definition.module, name)):
                    if getattr(each, "name", "") not in own:
                        yield each
        yield from node.body

    def is_internal(self, init: Function) -> bool:
        """Made by the package only: a parameter's type is private, or its value is another part of the package."""
        kinds = [ast.dump(each.annotation) for each in init.args.args if each.annotation]
        return any("'Streams'" in kind or "id='_" in kind for kind in kinds)

    def fields(self, definition: Definition, title: str) -> Iterator[Field]:
        members = list(self.members(definition))
        source = self.source(definition.module)
        for index, member in enumerate(members):
            if isinstance(member, ast.AnnAssign):
                name = source.segment(member.target)
                if name.startswith("_"):
                    continue
                following = members[index + 1] if index + 1 < len(members) else None
                doc = text_of(following)
                if doc is None:
                    self.faults.append(f"{title}.{name}: no docstring")
                yield Field(name, cell(source.segment(member.annotation)), default_of(source, member.value), flat(doc or ""))
            elif isinstance(member, ast.FunctionDef) and is_property(member) and not member.name.startswith("_"):
                returns = source.segment(member.returns) if member.returns else ""
                yield Field(member.name, cell(returns), "", flat(self.doc(member, f"{title}.{member.name}")))

    def function(self, source: Source, node: Function, title: str) -> Iterator[str]:
        word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
        if any(source.segment(each) == "classmethod" for each in node.decorator_list):
            word = f"@classmethod\n{word}"
        if node.returns is None:
            self.faults.append(f"{title}: it does not say what it returns")
        returns = "" if node.returns is None else f" -> {unquoted(source.segment(node.returns))}"
        yield block(f"{word} {node.name}", self.parameters(source, node, title), returns)
        yield markdown(self.doc(node, title))

    def parameters(self, source: Source, node: Function, title: str) -> List[str]:
        arguments = node.args
        plain = arguments.args[1:]
        shown = []
        defaults: List[Optional[ast.expr]] = [None] * (len(plain) - len(arguments.defaults))
        defaults.extend(arguments.defaults)
        for argument, default in zip(plain, defaults):
            shown.append(self.parameter(source, argument, default, title))
        if arguments.kwonlyargs:
            shown.append("*")
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults):
            shown.append(self.parameter(source, argument, default, title))
        return shown

    def parameter(self, source: Source, argument: ast.arg, default: Optional[ast.expr], title: str) -> str:
        if argument.annotation is None:
            self.faults.append(f"{title}: {argument.arg} has no annotation")
            return argument.arg
        value = "" if default is None else f" = {source.segment(default)}"
        return f"{argument.arg}: {self.annotation(source.module, argument.annotation)}{value}"

    def annotation(self, module: str, node: ast.expr) -> str:
        """What is written, with the names that only the package's modules have replaced by what they stand for."""
        source = self.source(module)
        written = unquoted(source.segment(node))
        for name in {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}:
            alias = self.alias(module, name)
            if alias is not None:
                written = re.sub(rf"\b{name}\b", alias, written)
        return written

    def alias(self, module: str, name: str) -> Optional[str]:
        source = self.source(module)
        for node in source.tree.body:
            if isinstance(node, ast.Assign) and source.segment(node.targets[0]) == name:
                if isinstance(node.value, ast.Subscript):
                    return unquoted(source.segment(node.value))
            if isinstance(node, ast.ImportFrom) and node.level and any(each.name == name for each in node.names):
                return self.alias(".".join(filter(None, ["mainstem", node.module])), name)
        return None

    def doc(self, node: ast.AST, title: str) -> str:
        doc = ast.get_docstring(node)  # type: ignore[arg-type]
        if not doc:
            self.faults.append(f"{title}: no docstring")
        return doc or ""


def heading(module: str) -> str:
    return f"{module}: {TITLES[module]}"


def anchor(title: str) -> str:
    """As Markdown's renderers make them."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def is_property(node: ast.AST) -> bool:
    decorators = getattr(node, "decorator_list", [])
    return any(isinstance(each, ast.Name) and each.id == "property" for each in decorators)


def text_of(node: Optional[ast.AST]) -> Optional[str]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return None


def default_of(source: Source, value: Optional[ast.expr]) -> str:
    """A field's default, as it stands in a call."""
    if value is None:
        return ""
    if isinstance(value, ast.Call):
        for keyword in value.keywords:
            if keyword.arg == "default":
                return f" = {source.segment(keyword.value)}"
        return ""
    return f" = {source.segment(value)}"


def block(head: str, parameters: List[str], tail: str) -> str:
    line = f"{head}({', '.join(parameters)}){tail}"
    if max(len(each) for each in line.split("\n")) > 100:
        inner = "".join(f"\n    {each}," for each in parameters)
        line = f"{head}({inner}\n){tail}"
    return f"```python\n{line}\n```"


def markdown(doc: str) -> str:
    """Docstrings are written with the marks of reStructuredText."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", doc)
    return re.sub(r"``(.+?)``", r"`\1`", text, flags=re.DOTALL)


def flat(doc: str) -> str:
    return " ".join(markdown(doc).split()).replace("|", "\\|")


def cell(annotation: str) -> str:
    return unquoted(annotation).replace("|", "\\|")


def unquoted(annotation: str) -> str:
    return annotation.replace('"', "")


def main() -> int:
    reference = Reference()
    page = reference.page()
    if reference.faults:
        lines = "\n".join(f"  {fault}" for fault in reference.faults)
        print(f"the reference of the Python package is not complete:\n{lines}", file=sys.stderr)
        return 1
    output = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
