//! Signals: those that bld gets while a container runs, and the names people have for them.

use std::sync::mpsc::Sender;

use rustix::process::Signal;
use tokio::signal::unix::SignalKind;

use super::attach::Happening;
use crate::error::CommandError;

/// Those that are passed on, and the one that tells of a new size of the terminal.
const HEARD: [Signal; 7] =
    [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2, Signal::WINCH];

/// From now on signals do not end bld but are told to `happenings`.
pub(super) fn listen(happenings: &Sender<Happening>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut streams = Vec::new();
    {
        let _inside = runtime.enter();
        for signal in HEARD {
            streams.push((signal, tokio::signal::unix::signal(SignalKind::from_raw(signal.as_raw()))?));
        }
    }
    let happenings = happenings.clone();
    // It ends with the process.
    std::thread::Builder::new().name("bld-signals".to_owned()).spawn(move || {
        let tasks = streams.into_iter().map(|(signal, mut stream)| {
            let happenings = happenings.clone();
            async move { while stream.recv().await.is_some() && happenings.send(Happening::Signal(signal)).is_ok() {} }
        });
        let tasks: Vec<_> = tasks.map(|task| runtime.spawn(task)).collect();
        runtime.block_on(async {
            for task in tasks {
                drop(task.await);
            }
        });
    })?;
    Ok(())
}

const NAMES: [(&str, Signal); 29] = [
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("ILL", Signal::ILL),
    ("TRAP", Signal::TRAP),
    ("ABRT", Signal::ABORT),
    ("BUS", Signal::BUS),
    ("FPE", Signal::FPE),
    ("KILL", Signal::KILL),
    ("USR1", Signal::USR1),
    ("SEGV", Signal::SEGV),
    ("USR2", Signal::USR2),
    ("PIPE", Signal::PIPE),
    ("ALRM", Signal::ALARM),
    ("TERM", Signal::TERM),
    ("CHLD", Signal::CHILD),
    ("CONT", Signal::CONT),
    ("STOP", Signal::STOP),
    ("TSTP", Signal::TSTP),
    ("TTIN", Signal::TTIN),
    ("TTOU", Signal::TTOU),
    ("URG", Signal::URG),
    ("XCPU", Signal::XCPU),
    ("XFSZ", Signal::XFSZ),
    ("VTALRM", Signal::VTALARM),
    ("PROF", Signal::PROF),
    ("WINCH", Signal::WINCH),
    ("IO", Signal::IO),
    ("SYS", Signal::SYS),
];

/// `SIGTERM`, `TERM`, `15`.
pub(super) fn parse(text: &str) -> Option<Signal> {
    if let Ok(number) = text.parse::<i32>() {
        return Signal::from_named_raw(number);
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    NAMES.iter().find(|(name, _)| *name == bare).map(|(_, signal)| *signal)
}

/// What `--stop-signal` says, or else the image.
pub(super) fn stop_signal(given: Option<&str>, image: Option<&str>) -> Result<Option<Signal>, CommandError> {
    match given {
        Some(text) => match parse(text) {
            Some(signal) => Ok(Some(signal)),
            None => Err(CommandError::usage(format!("`--stop-signal {text}` is not a signal"))
                .hint("write a name like SIGTERM, or a number")),
        },
        // Real-time signals, which some images name, end what does not handle them as well.
        None => Ok(image.and_then(parse)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for text in ["SIGQUIT", "quit", "3"] {
            assert_eq!(parse(text), Some(Signal::QUIT), "{text}");
        }
        assert_eq!(parse("SIGNOPE"), None);
        assert_eq!(stop_signal(None, Some("SIGRTMIN+3")).unwrap(), None);
        assert!(stop_signal(Some("x"), None).is_err());
    }
}
