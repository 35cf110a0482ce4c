//! The values of `--chmod`.
//!
//! ```text
//! mode   = octal | clause { "," clause }
//! octal  = 1 to 5 digits, at most 07777
//! clause = { "u" | "g" | "o" | "a" } action { action }
//! action = ( "+" | "-" | "=" ) ( { "r" | "w" | "x" | "X" | "s" | "t" } | "u" | "g" | "o" )
//! ```
//! There is no umask: a clause without a class means all of them.

use thiserror::Error;

/// A change of a file's mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chmod(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Octal(u32),
    Symbolic(Vec<Action>),
}

/// One `+`, `-` or `=` for the classes in front of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Action {
    /// The bits of user, group and other this is about: 0o700, 0o070, 0o007.
    classes: u32,
    operator: Operator,
    permissions: Permissions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permissions {
    Letters {
        /// `rwx` as three bits.
        bits: u32,
        /// `X`: execution for directories and for what anybody may execute already.
        conditional_execute: bool,
        set_id: bool,
        sticky: bool,
    },
    /// What this class has: its shift.
    Copied(u32),
}

/// A mode that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid mode `{value}`: {reason}")]
pub struct InvalidMode {
    /// The value.
    pub value: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Chmod {
    /// Reads a mode.
    pub fn parse(value: &str) -> Result<Chmod, InvalidMode> {
        let invalid = |reason| InvalidMode { value: value.to_owned(), reason };
        if value.is_empty() {
            return Err(invalid("it is empty"));
        }
        if value.bytes().all(|byte| byte.is_ascii_digit()) {
            return match u32::from_str_radix(value, 8) {
                Ok(mode) if mode <= 0o7777 => Ok(Chmod(Kind::Octal(mode))),
                Err(_) if value.bytes().any(|byte| byte > b'7') => Err(invalid("8 and 9 are no octal digits")),
                _ => Err(invalid("it is larger than 07777")),
            };
        }
        let mut actions = Vec::new();
        for clause in value.split(',') {
            parse_clause(clause, &mut actions).map_err(invalid)?;
        }
        Ok(Chmod(Kind::Symbolic(actions)))
    }

    /// Whether it is a number, and so does not depend on the mode before.
    pub fn octal(&self) -> Option<u32> {
        match &self.0 {
            Kind::Octal(mode) => Some(*mode),
            Kind::Symbolic(_) => None,
        }
    }

    /// The permission bits (at most 07777) of a file that has `current_mode` now.
    #[must_use]
    pub fn apply(&self, current_mode: u32, is_directory: bool) -> u32 {
        match &self.0 {
            Kind::Octal(mode) => *mode,
            Kind::Symbolic(actions) => {
                actions.iter().fold(current_mode & 0o7777, |mode, action| action.apply(mode, is_directory))
            }
        }
    }
}

impl Action {
    fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        let bits = self.bits(mode, is_directory);
        match self.operator {
            Operator::Add => mode | bits,
            Operator::Remove => mode & !bits,
            Operator::Set => (mode & !self.replaced(is_directory)) | bits,
        }
    }

    /// What `=` takes away before it sets.
    fn replaced(&self, is_directory: bool) -> u32 {
        let mut bits = self.classes;
        // Like chmod(1), `=` leaves the set-id bits of a directory alone unless they are named.
        let named = matches!(self.permissions, Permissions::Letters { set_id: true, .. });
        if !is_directory || named {
            bits |= if self.classes & 0o700 != 0 { 0o4000 } else { 0 };
            bits |= if self.classes & 0o070 != 0 { 0o2000 } else { 0 };
        }
        bits | if self.classes & 0o007 != 0 { 0o1000 } else { 0 }
    }

    fn bits(&self, mode: u32, is_directory: bool) -> u32 {
        match self.permissions {
            Permissions::Copied(shift) => (((mode >> shift) & 0o7) * 0o111) & self.classes,
            Permissions::Letters { bits, conditional_execute, set_id, sticky } => {
                let execute = conditional_execute && (is_directory || mode & 0o111 != 0);
                let mut result = ((bits | u32::from(execute)) * 0o111) & self.classes;
                if set_id {
                    result |= if self.classes & 0o700 != 0 { 0o4000 } else { 0 };
                    result |= if self.classes & 0o070 != 0 { 0o2000 } else { 0 };
                }
                result | if sticky && self.classes & 0o007 != 0 { 0o1000 } else { 0 }
            }
        }
    }
}

fn parse_clause(clause: &str, actions: &mut Vec<Action>) -> Result<(), &'static str> {
    let actions_start = clause.find(['+', '-', '=']).ok_or("`+`, `-` or `=` is missing")?;
    let (who, mut rest) = clause.split_at(actions_start);
    let mut classes = 0;
    for letter in who.chars() {
        classes |= match letter {
            'u' => 0o700,
            'g' => 0o070,
            'o' => 0o007,
            'a' => 0o777,
            _ => return Err("only `u`, `g`, `o` and `a` may stand before `+`, `-` or `=`"),
        };
    }
    if classes == 0 {
        classes = 0o777;
    }
    while let Some(sign) = rest.chars().next() {
        let operator = match sign {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            _ => Operator::Set,
        };
        let behind = &rest[1..];
        let end = behind.find(['+', '-', '=']).unwrap_or(behind.len());
        let (letters, next) = behind.split_at(end);
        actions.push(Action { classes, operator, permissions: parse_permissions(letters)? });
        rest = next;
    }
    Ok(())
}

fn parse_permissions(letters: &str) -> Result<Permissions, &'static str> {
    match letters {
        "u" => return Ok(Permissions::Copied(6)),
        "g" => return Ok(Permissions::Copied(3)),
        "o" => return Ok(Permissions::Copied(0)),
        _ => {}
    }
    let (mut bits, mut conditional_execute, mut set_id, mut sticky) = (0, false, false, false);
    for letter in letters.chars() {
        match letter {
            'r' => bits |= 0o4,
            'w' => bits |= 0o2,
            'x' => bits |= 0o1,
            'X' => conditional_execute = true,
            's' => set_id = true,
            't' => sticky = true,
            'u' | 'g' | 'o' => return Err("`u`, `g` or `o` behind the sign must stand alone"),
            _ => return Err("permissions are `r`, `w`, `x`, `X`, `s` and `t`"),
        }
    }
    Ok(Permissions::Letters { bits, conditional_execute, set_id, sticky })
}

#[cfg(test)]
mod tests {
    use super::Chmod;

    #[track_caller]
    fn check(value: &str, before: u32, is_directory: bool, after: u32) {
        let mode = Chmod::parse(value).unwrap().apply(before, is_directory);
        assert_eq!(mode, after, "{value} of {before:o} is {mode:o}, not {after:o}");
    }

    #[test]
    fn octal() {
        check("755", 0o4600, false, 0o755);
        check("0", 0o777, false, 0);
        check("07777", 0, true, 0o7777);
    }

    #[test]
    fn symbolic() {
        check("u=rwX,go=rX", 0o600, false, 0o644);
        check("u=rwX,go=rX", 0o700, false, 0o755);
        check("u=rwX,go=rX", 0o600, true, 0o755);
        check("+x", 0o644, false, 0o755);
        check("-w", 0o666, false, 0o444);
        check("g=u", 0o750, false, 0o770);
        check("o=g,g=", 0o750, false, 0o705);
        check("u+s", 0o755, false, 0o4755);
        check("g+s", 0o755, true, 0o2755);
        check("+s", 0o755, false, 0o6755);
        check("+t", 0o777, true, 0o1777);
        check("u=rwx", 0o4755, false, 0o755);
        check("u=rwx", 0o4755, true, 0o4755);
        check("a=r", 0o1777, false, 0o444);
        check("u+x-w", 0o600, false, 0o500);
        check("ug+rw,o-rwx", 0o117, false, 0o770);
        check("a=", 0o755, false, 0);
    }

    #[test]
    fn refused() {
        for value in
            ["", "8", "10000", "99999999999999999999", "x", "u", "z+x", "u+q", "u+rg", "u+x,", "0o755", "rwx", "7 5"]
        {
            assert!(Chmod::parse(value).is_err(), "{value}");
        }
        assert_eq!(Chmod::parse("10000").unwrap_err().to_string(), "invalid mode `10000`: it is larger than 07777");
    }
}
