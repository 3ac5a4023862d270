//! A bounded reader of a WebAssembly module, as far as the proof of no hidden I/O needs it.
//!
//! A module can touch the outside world only through what it imports. So the import section says
//! everything there is to know about what a library may do on its own. Input: the bytes of a
//! module. Output: its [`Module`]: each import's two names, and how many functions it defines.
//! Names longer than [`NAME_LEN_MAX`] bytes or more than [`IMPORT_COUNT_MAX`] imports are errors.
//! Source: WebAssembly Core Specification 2.0, section 5.5 (modules).

use std::fmt;

/// Longest module or field name that is read, in bytes.
pub const NAME_LEN_MAX: u32 = 4096;
/// Most imports that are read.
pub const IMPORT_COUNT_MAX: u32 = 10_000;

const SECTION_IMPORT: u8 = 2;
const SECTION_FUNCTION: u8 = 3;

/// What the proof looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// `module.field` of each import.
    pub imports: Vec<String>,
    /// How many functions the module defines itself.
    pub function_count: u32,
}

/// Why bytes are not a module that this reader takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WasmError {
    /// The first eight bytes are not a version 1 module's.
    NotAModule,
    /// The bytes end inside this.
    Truncated(&'static str),
    /// A number or name passes a limit or is malformed.
    Malformed(&'static str),
}

impl fmt::Display for WasmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAModule => write!(f, "expected a WebAssembly version 1 module"),
            Self::Truncated(what) => write!(f, "the module ends inside {what}"),
            Self::Malformed(what) => write!(f, "the module has a malformed {what}"),
        }
    }
}

impl std::error::Error for WasmError {}

/// Reads a module.
pub fn parse(bytes: &[u8]) -> Result<Module, WasmError> {
    let mut rest = bytes
        .strip_prefix(b"\0asm\x01\0\0\0")
        .ok_or(WasmError::NotAModule)?;
    let mut module = Module::default();
    while let Some((id, after)) = rest.split_first() {
        rest = after;
        let len = u32_leb(&mut rest)?;
        let mut body = take(&mut rest, len, "a section")?;
        match *id {
            SECTION_IMPORT => module.imports = imports(&mut body)?,
            SECTION_FUNCTION => module.function_count = u32_leb(&mut body)?,
            _ => {}
        }
    }
    Ok(module)
}

fn imports(body: &mut &[u8]) -> Result<Vec<String>, WasmError> {
    let count = u32_leb(body)?;
    if count > IMPORT_COUNT_MAX {
        return Err(WasmError::Malformed("import count"));
    }
    let mut imports = Vec::new();
    for _ in 0..count {
        let module = name(body)?;
        let field = name(body)?;
        skip_import_type(body)?;
        imports.push(format!("{module}.{field}"));
    }
    Ok(imports)
}

/// Function: type index. Table: reference type, limits. Memory: limits. Global: type, mutability.
fn skip_import_type(body: &mut &[u8]) -> Result<(), WasmError> {
    match byte(body)? {
        0 => u32_leb(body).map(drop),
        1 => {
            byte(body)?;
            skip_limits(body)
        }
        2 => skip_limits(body),
        3 => {
            byte(body)?;
            byte(body).map(drop)
        }
        _ => Err(WasmError::Malformed("import kind")),
    }
}

fn skip_limits(body: &mut &[u8]) -> Result<(), WasmError> {
    let has_max = byte(body)? & 1 == 1;
    u32_leb(body)?;
    if has_max {
        u32_leb(body)?;
    }
    Ok(())
}

fn name(body: &mut &[u8]) -> Result<String, WasmError> {
    let len = u32_leb(body)?;
    if len > NAME_LEN_MAX {
        return Err(WasmError::Malformed("name length"));
    }
    let bytes = take(body, len, "a name")?;
    let text = std::str::from_utf8(bytes).map_err(|_| WasmError::Malformed("name"))?;
    Ok(text.to_owned())
}

fn byte(rest: &mut &[u8]) -> Result<u8, WasmError> {
    let (first, after) = rest.split_first().ok_or(WasmError::Truncated("a byte"))?;
    *rest = after;
    Ok(*first)
}

fn take<'a>(rest: &mut &'a [u8], len: u32, what: &'static str) -> Result<&'a [u8], WasmError> {
    let len = usize::try_from(len).map_err(|_| WasmError::Malformed("length"))?;
    let (taken, after) = rest
        .split_at_checked(len)
        .ok_or(WasmError::Truncated(what))?;
    *rest = after;
    Ok(taken)
}

/// An unsigned LEB128 number of at most 32 bits.
fn u32_leb(rest: &mut &[u8]) -> Result<u32, WasmError> {
    let mut value = 0_u64;
    for shift in [0, 7, 14, 21, 28] {
        let next = byte(rest)?;
        value |= u64::from(next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return u32::try_from(value).map_err(|_| WasmError::Malformed("number"));
        }
    }
    Err(WasmError::Malformed("number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One function type, one import `env.now` of it, and one function of its own.
    const IMPORTS_A_CLOCK: &[u8] = b"\0asm\x01\0\0\0\
        \x01\x04\x01\x60\0\0\
        \x02\x0b\x01\x03env\x03now\0\0\
        \x03\x02\x01\0";

    #[test]
    fn an_imported_function_is_seen() {
        let module = parse(IMPORTS_A_CLOCK).unwrap();
        assert_eq!(module.imports, ["env.now"]);
        assert_eq!(module.function_count, 1);
    }

    #[test]
    fn tables_memories_and_globals_are_seen_too() {
        let mut bytes = b"\0asm\x01\0\0\0\x02\x17\x03".to_vec();
        bytes.extend(b"\x01a\x01t\x01\x70\x01\x01\x02");
        bytes.extend(b"\x01a\x01m\x02\0\x01");
        bytes.extend(b"\x01a\x01g\x03\x7f\0");
        bytes[9] = u8::try_from(bytes.len() - 10).unwrap();
        assert_eq!(parse(&bytes).unwrap().imports, ["a.t", "a.m", "a.g"]);
    }

    #[test]
    fn a_module_cut_anywhere_is_an_error_or_a_shorter_module_and_never_a_panic() {
        for len in 0..IMPORTS_A_CLOCK.len() {
            let cut = parse(&IMPORTS_A_CLOCK[..len]);
            assert!(
                cut.as_ref()
                    .map_or(true, |module| module.function_count == 0),
                "{cut:?}"
            );
        }
        assert_eq!(parse(b"\0asm\x02\0\0\0"), Err(WasmError::NotAModule));
    }
}
