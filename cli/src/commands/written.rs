//! Files that commands write into a build context: the next build finds them there.

use std::path::Path;

use bld_executor::context::ignore_file;
use bld_solver::record::BuildRecord;

/// What to do about a file that was written, if it is part of the build's context.
pub(super) fn note(record: &BuildRecord, file: &Path) -> Option<String> {
    let context =
        Path::new(&record.context).canonicalize().ok().filter(|_| Path::new(&record.context).is_absolute())?;
    let file = file.canonicalize().ok()?;
    let inside = file.strip_prefix(&context).ok()?;
    // Who named another Dockerfile may have an ignore file beside it.
    let rules = ignore_file(&context, Some(&context.join(&record.dockerfile))).ok()?;
    let is_left_out = |path: &Path| {
        let bytes = path.as_os_str().as_encoded_bytes();
        rules.as_ref().is_some_and(|rules| rules.patterns.matches(bytes).is_excluded())
    };
    if is_left_out(inside) {
        return None;
    }
    let name = rules.as_ref().map_or(".dockerignore", |rules| rules.name.as_str());
    let shown = inside.display();
    Some(format!(
        "{shown} is inside the build context {}: steps that copy all of it will not be cached; add `{shown}` to {name}",
        context.display()
    ))
}
