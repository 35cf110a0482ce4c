//! What to do about a step that failed, told from its instruction and from the last lines it wrote: the classic mistakes.

use bld_executor::ExecuteError;
use bld_executor::copy::CopyError;
use bld_executor::copy::Missing;
use bld_executor::sandbox::SandboxError;
use bld_executor::sandbox::StepError;
use bld_parser::suggest::did_you_mean;
use bld_solver::op::Exec;
use bld_solver::op::ExecMount;

/// What is known of a step that failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure<'a> {
    /// The instruction as written, without its place: `RUN make`.
    pub(super) instruction: &'a str,
    /// What a RUN would execute.
    pub(super) exec: Option<&'a Exec>,
    /// The last lines it wrote.
    pub(super) tail: &'a [String],
    /// The instructions of its stage before it.
    pub(super) earlier: &'a [&'a str],
    /// Build arguments that no ARG declares.
    pub(super) undeclared: &'a [String],
    /// There is a Dockerfile and no build context.
    pub(super) no_context: bool,
}

/// Commands people misspell.
const TOOLS: [&str; 14] =
    ["apk", "apt", "apt-get", "cargo", "curl", "dnf", "git", "make", "npm", "pip", "python3", "wget", "yarn", "yum"];

/// Commands of bash that other shells lack.
const BASH: [&str; 8] = ["declare", "mapfile", "popd", "pushd", "readarray", "shopt", "source", "typeset"];

/// Commands of every shell that are no programs.
const BUILTINS: [&str; 9] = [".", "alias", "cd", "eval", "exit", "export", "set", "source", "umask"];

/// The mistake this failure is known to come from.
pub(super) fn advice(error: &ExecuteError, failure: Failure<'_>) -> Option<String> {
    match error {
        ExecuteError::ExitStatus { code, .. } => of_command(*code, failure),
        ExecuteError::Sandbox(SandboxError::Step(error)) => of_program(error, failure),
        ExecuteError::SecretMissing { id } => {
            Some(format!("give it with `--secret id={id},src=FILE` or `--secret id={id},env=VARIABLE`"))
        }
        ExecuteError::AgentMissing { id } => {
            Some(format!("give it with `--ssh {id}` for the agent that runs, or `--ssh {id}=KEYFILE`"))
        }
        ExecuteError::Copy(CopyError::NotFound { missing })
            if missing.iter().all(|missing| missing.suggestion.is_none()) =>
        {
            of_paths(missing, failure.instruction, failure.no_context)
        }
        ExecuteError::Shared(error) => advice(error, failure),
        _ => None,
    }
}

/// Sources that nothing looks like.
fn of_paths(missing: &[Missing], instruction: &str, no_context: bool) -> Option<String> {
    let words: Vec<&str> = instruction.split_whitespace().filter(|word| !word.starts_with("--")).collect();
    if let Some(whole) = missing.iter().find_map(|missing| missing.name_with_blanks.as_ref()) {
        let [name, sources @ .., destination] = words.as_slice() else { return None };
        let is_all = sources.join(" ") == *whole;
        return is_all.then(|| format!("a name with blanks is written `{name} [\"{whole}\", \"{destination}\"]`"));
    }
    let first = missing.first()?;
    if no_context && first.tree.is_empty() {
        return Some(
            "a Dockerfile alone has no build context: `bld build -f - DIRECTORY < FILE` gives it one".to_owned(),
        );
    }
    if instruction.contains('\\') && first.tree.is_empty() {
        return Some("`\\` escapes the letter behind it: write `/` between names".to_owned());
    }
    let is_relative = !first.tree.is_empty() && words.contains(&first.source_path.trim_start_matches('/'));
    is_relative.then(|| format!("paths begin at the root of {}, whatever its WORKDIR is", first.tree))
}

/// A program that could not be started.
fn of_program(error: &StepError, failure: Failure<'_>) -> Option<String> {
    let arguments = failure.exec.map_or(&[][..], |exec| &exec.args);
    match error {
        StepError::NotFound { name } if name.contains(char::is_whitespace) => {
            let words: Vec<String> = name.split_whitespace().map(|word| format!("\"{word}\"")).collect();
            Some(format!("every word is a string of its own: write `[{}]`", words.join(", ")))
        }
        StepError::NotFound { name } if BUILTINS.contains(&name.as_str()) => {
            let written = arguments.join(" ");
            let lasting = match (name.as_str(), arguments.get(1)) {
                ("cd", Some(directory)) => format!(", or `WORKDIR {directory}` to go there for good"),
                ("export", Some(variable)) => format!(", or `ENV {variable}` to set it for good"),
                _ => String::new(),
            };
            Some(format!("`{name}` is no program but a command of the shell: write `RUN {written}`{lasting}"))
        }
        StepError::NotFound { name } if name.contains('/') => {
            Some("no such file is in the image: COPY it, install it in an earlier RUN, or correct its path".to_owned())
        }
        StepError::NotFound { name } => Some(not_installed(name)),
        StepError::PermissionDenied { name } => {
            Some(format!("make `{name}` executable: COPY it with `--chmod=755`, or set its mode before"))
        }
        // What is of another machine was told apart before.
        StepError::CannotExecute { source, .. } if source.0 == EXEC_FORMAT => {
            Some("a script begins with a line like `#!/bin/sh`".to_owned())
        }
        _ => None,
    }
}

/// ENOEXEC.
const EXEC_FORMAT: i32 = 8;

/// A command that ran and failed.
fn of_command(code: i32, failure: Failure<'_>) -> Option<String> {
    let command = failure.instruction;
    let says = |text: &str| failure.tail.iter().any(|line| line.contains(text));
    if let Some(name) = missing_command(failure.tail) {
        return Some(if name == "sudo" {
            "a RUN is root unless USER says otherwise: leave `sudo` out".to_owned()
        } else if BASH.contains(&name) {
            format!("`{name}` is a command of bash: write `SHELL [\"/bin/bash\", \"-c\"]` above if the image has bash")
        } else {
            not_installed(name)
        });
    }
    if code == 126
        && let Some(name) = denied_program(failure.tail)
    {
        return Some(format!("make `{name}` executable: COPY it with `--chmod=755`, or set its mode before"));
    }
    let installs = command.contains("apt-get install") || command.contains("apt install");
    if installs && (says("Unable to locate package") || says("has no installation candidate")) {
        let updates = command.contains("apt-get update") || command.contains("apt update");
        let advice = if updates {
            "no repository of the image has this package: correct its name, or add a repository"
        } else {
            "the image holds no package lists: begin this RUN with `apt-get update && `"
        };
        return Some(advice.to_owned());
    }
    if installs && says("Do you want to continue") {
        return Some("nobody can answer here: write `apt-get install -y`".to_owned());
    }
    if let Some(id) = secret_not_given(failure) {
        return Some(format!("the secret `{id}` was not given: `--secret id={id},src=FILE` does"));
    }
    if let Some(name) = failure.undeclared.iter().find(|name| uses(command, name)) {
        return Some(format!("`--build-arg {name}` reaches no step without `ARG {name}`: write that line above"));
    }
    if says("No such file") || says("not found") || says("can't open") {
        let literal = failure
            .exec
            .filter(|_| command.contains("[\""))
            .and_then(|exec| exec.args.iter().find(|argument| argument.contains('$') && says(argument)));
        if let Some(argument) = literal {
            return Some(format!(
                "no shell replaces `{argument}` in the exec form: write the command without brackets"
            ));
        }
        if let Some(directory) = failure.earlier.iter().rev().find_map(|earlier| only_cd(earlier)) {
            return Some(format!(
                "`RUN cd {directory}` lasts until that step ends: write `WORKDIR {directory}` instead"
            ));
        }
    }
    None
}

fn not_installed(name: &str) -> String {
    let install = format!("the image has no command `{name}`: install it in an earlier RUN, or correct its name");
    match did_you_mean(name, TOOLS) {
        Some(near) => format!("{near} If not: {install}"),
        None => install,
    }
}

/// `NAME` of `/bin/sh: NAME: not found`, `bash: line 1: NAME: command not found` or `/bin/sh: 1: NAME: not found`.
fn missing_command(tail: &[String]) -> Option<&str> {
    tail.iter().rev().find_map(|line| {
        let line = line.trim_end();
        let before = line.strip_suffix(": command not found").or_else(|| line.strip_suffix(": not found"))?;
        let (shell, name) = before.rsplit_once(": ")?;
        let is_name = !name.is_empty() && !name.contains(|letter: char| letter.is_whitespace() || letter == '/');
        let of_shell = shell.split(':').next().is_some_and(|shell| shell.ends_with("sh"));
        (is_name && of_shell).then_some(name)
    })
}

/// `PROGRAM` of `/bin/sh: PROGRAM: Permission denied`.
fn denied_program(tail: &[String]) -> Option<&str> {
    tail.iter().rev().find_map(|line| {
        let before = line.trim_end().to_owned().to_lowercase().strip_suffix(": permission denied")?.len();
        let (_, name) = line.get(..before)?.rsplit_once(": ")?;
        name.contains('/').then_some(name)
    })
}

/// A secret that is not required, has no file, and was looked for.
fn secret_not_given(failure: Failure<'_>) -> Option<&str> {
    failure.exec?.mounts.iter().find_map(|mount| {
        let ExecMount::Secret(secret) = mount else { return None };
        let path = secret.target.as_ref()?.to_string();
        let absent = |line: &String| line.contains(&path) && line.contains("No such file");
        failure.tail.iter().any(absent).then_some(secret.id.as_str())
    })
}

fn uses(command: &str, name: &str) -> bool {
    command.match_indices('$').any(|(at, _)| {
        let behind = &command[at + 1..];
        let behind = behind.strip_prefix('{').unwrap_or(behind);
        let rest = behind.strip_prefix(name);
        rest.is_some_and(|rest| !rest.starts_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '_'))
    })
}

/// The directory of a RUN that does nothing but change to it.
fn only_cd(instruction: &str) -> Option<&str> {
    let directory = instruction.strip_prefix("RUN cd ")?.trim();
    (!directory.is_empty() && !directory.contains(|letter: char| letter.is_whitespace() || ";&|".contains(letter)))
        .then_some(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(instruction: &str, code: i32, tail: &[&str], earlier: &[&str]) -> Option<String> {
        let tail: Vec<String> = tail.iter().map(|line| (*line).to_owned()).collect();
        let undeclared = ["VERSION".to_owned()];
        of_command(
            code,
            Failure { instruction, exec: None, tail: &tail, earlier, undeclared: &undeclared, no_context: false },
        )
    }

    #[test]
    fn commands_that_are_not_there() {
        for (line, name) in [
            ("/bin/sh: aptget: not found", Some("aptget")),
            ("/bin/sh: 1: aptget: not found", Some("aptget")),
            ("bash: line 1: aptget: command not found", Some("aptget")),
            ("curl: (22) The requested URL: not found", None),
            ("/bin/sh: /opt/x: not found", None),
            ("not found", None),
        ] {
            assert_eq!(missing_command(&[line.to_owned()]), name, "{line}");
        }
        assert!(said("RUN sudo x", 127, &["/bin/sh: sudo: not found"], &[]).unwrap().contains("leave `sudo` out"));
        assert!(said("RUN shopt x", 127, &["/bin/sh: shopt: not found"], &[]).unwrap().contains("bash"));
        let hint = said("RUN aptget", 127, &["/bin/sh: aptget: not found"], &[]).unwrap();
        assert!(hint.starts_with("did you mean `apt-get`?"), "{hint}");
    }

    #[test]
    fn paths_that_are_not_there() {
        let missing = |path: &str, tree: &str| Missing {
            name_with_blanks: path.starts_with("my").then(|| "my file.txt".to_owned()),
            source_path: path.to_owned(),
            tree: tree.to_owned(),
            link: None,
            leaves: false,
            suggestion: None,
            excluded: None,
        };
        let blanks = [missing("my", ""), missing("file.txt", "")];
        let hint = of_paths(&blanks, "COPY --link my file.txt /x", false).unwrap();
        assert!(hint.contains("`COPY [\"my file.txt\", \"/x\"]`"), "{hint}");
        assert!(
            of_paths(&[missing("/app", "stage `a`")], "COPY --from=a app /x", true)
                .unwrap()
                .contains("root of stage `a`")
        );
        assert_eq!(of_paths(&[missing("/app", "stage `a`")], "COPY --from=a /app /x", true), None);
        assert!(of_paths(&[missing("srca", "")], "COPY src\\a /x", false).unwrap().contains("`/`"));
        assert_eq!(of_paths(&[missing("a", "")], "COPY a b /x", false), None);
        assert!(of_paths(&[missing("a", "")], "COPY a b /x", true).unwrap().contains("no build context"));
    }

    #[test]
    fn nothing_is_said_without_a_sign() {
        assert_eq!(said("RUN make", 2, &["make: *** [all] Error 1"], &["RUN cd /app"]), None);
        assert_eq!(said("RUN apt-get install x", 100, &["E: broken"], &[]), None);
        assert_eq!(said("RUN cat x", 1, &["cat: x: No such file or directory"], &["RUN cd /app && make"]), None);
        assert_eq!(said("RUN echo $VERSIONS", 1, &[], &[]), None);
    }

    #[test]
    fn signs_are_read() {
        let missing = ["cat: x: No such file or directory"];
        assert!(said("RUN cat x", 1, &missing, &["RUN cd /app", "RUN true"]).unwrap().contains("`WORKDIR /app`"));
        assert!(said("RUN test -n \"${VERSION}\"", 1, &[], &[]).unwrap().contains("`ARG VERSION`"));
        let denied = said("RUN /run.sh", 126, &["/bin/sh: 1: /run.sh: Permission denied"], &[]).unwrap();
        assert!(denied.starts_with("make `/run.sh` executable"), "{denied}");
        let located = ["E: Unable to locate package nginx"];
        assert!(said("RUN apt-get install -y nginx", 100, &located, &[]).unwrap().contains("`apt-get update && `"));
        let asks = ["Do you want to continue? [Y/n] Abort."];
        assert!(said("RUN apt-get install nginx", 1, &asks, &[]).unwrap().contains("-y"));
    }
}
