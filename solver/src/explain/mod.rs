//! Why a step was not found in the cache: a comparison with what earlier builds knew of it.
//!
//! ```text
//! of the earlier builds of the project, the one in which the step that this one was (`align`) differs least:
//! nothing differs and its result was removed                               -> that
//! what differs in the step itself                                          -> that
//! else what it is made of: another image, another file on the network      -> that
//! else a step above it that was not found                                  -> that step, and nothing more
//! else a step above it was found, and is another than before               -> that, and what changed there
//! else nothing differs: it never ended well, or its result is gone
//! ```

pub mod advice;
mod align;
mod cause;
mod compare;
pub mod facts;
pub mod files;

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use bld_parser::ignorefile::Patterns;

pub use self::cause::Cause;
pub use self::cause::Change;
pub use self::cause::VariableSource;
use self::facts::BuildFacts;
use self::facts::IgnoreFile;
use self::facts::StepFacts;
use self::facts::Taken;
use self::files::FileChanges;
use self::files::FileDifference;

/// What is remembered of earlier builds.
pub trait Archive {
    /// The facts of the build that was so many builds of the project ago: 0 is the last one. `None` ends the search.
    fn earlier(&self, position: usize) -> Option<Arc<BuildFacts>>;

    /// The list of the files that a digest stands for.
    fn files(&self, digest: &str) -> Option<Vec<u8>>;

    /// Why the result of a definition key went.
    fn tombstone(&self, definition: &str) -> Option<Tombstone>;
}

/// When and why a result went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// In seconds since 1970.
    pub seconds: i64,
    /// `2 d ago`.
    pub ago: String,
    /// Why.
    pub reason: String,
}

/// Explains the misses of one build.
#[derive(Debug)]
pub struct Explainer<A> {
    facts: Arc<BuildFacts>,
    archive: A,
    /// Stages and platforms of an earlier build: for each of our vertices, which vertex it was.
    alignments: RefCell<HashMap<usize, Arc<HashMap<u32, u32>>>>,
    /// Vertices that may not be taken from the cache.
    forced: HashSet<u32>,
    names: HashMap<u32, String>,
}

/// What a step was.
struct Earlier {
    facts: Arc<BuildFacts>,
    vertex: u32,
    /// Our vertices, and which of that build's they were.
    pairs: Arc<HashMap<u32, u32>>,
}

impl Earlier {
    fn step(&self) -> Option<&StepFacts> {
        self.facts.step(self.vertex)
    }
}

impl<A: Archive> Explainer<A> {
    /// Compares `facts` with what `archive` has. `forced` are the vertices that may not be taken from the cache, `names` how all are shown.
    pub fn new(facts: Arc<BuildFacts>, archive: A, forced: HashSet<u32>, names: HashMap<u32, String>) -> Explainer<A> {
        Explainer { facts, archive, alignments: RefCell::default(), forced, names }
    }

    /// Why a vertex was not found. `missed` says which of those above it were not.
    pub fn explain(&self, vertex: u32, missed: &dyn Fn(u32) -> bool) -> Cause {
        if self.forced.contains(&vertex) {
            return Cause::NoCache;
        }
        let Some(is) = self.facts.step(vertex) else { return Cause::FirstBuild };
        let earlier = match self.earlier(is) {
            Ok(earlier) => earlier,
            // What is above it and new says more than that it is new too.
            Err(cause) => {
                return self.missed_parent(is, missed).filter(|_| cause != Cause::NewStep).unwrap_or(cause);
            }
        };
        let Some(was) = earlier.step() else { return Cause::NewStep };
        // It was there once, exactly as it is wanted now: nothing that changed since says more than why it went.
        if self.missed_parent(is, missed).is_none()
            && let Some(Tombstone { seconds, ago, reason }) = self.archive.tombstone(&is.definition)
        {
            return Cause::Evicted { seconds, ago, reason };
        }
        if let Some(cause) = compare::differences(was, is).into_iter().next() {
            return cause;
        }
        if let Some(pair) = compare::retaken(was, is) {
            return self.files(pair.was, pair.is, &earlier.facts);
        }
        self.source(was, is, &earlier, missed)
            .or_else(|| self.missed_parent(is, missed))
            .or_else(|| self.moved_parent(was, is, &earlier))
            .unwrap_or(match (was.definition == is.definition, was.finished) {
                (true, true) => Cause::Gone,
                (true, false) => Cause::NeverFinished,
                (false, _) => Cause::Unknown,
            })
    }

    /// The definition key of what a vertex was when it last ended well.
    pub fn earlier_key(&self, vertex: u32) -> Option<String> {
        let earlier = self.earlier(self.facts.step(vertex)?).ok()?;
        earlier.step().filter(|step| step.finished).map(|step| step.definition.clone())
    }

    /// The earlier build in which the step differs least from what it is now; the newest of equals.
    fn earlier(&self, is: &StepFacts) -> Result<Earlier, Cause> {
        let mut cause = Cause::FirstBuild;
        let mut nearest: Option<(usize, Earlier)> = None;
        let mut position = 0;
        while let Some(facts) = self.archive.earlier(position) {
            let pairs = self.alignment(position, &facts);
            match pairs.get(&is.vertex).and_then(|vertex| facts.step(*vertex)) {
                Some(was) => {
                    let distance = self.distance(was, is, &facts);
                    if nearest.as_ref().is_none_or(|(known, _)| distance < *known) {
                        let vertex = was.vertex;
                        nearest = Some((distance, Earlier { facts, vertex, pairs }));
                    }
                }
                None if self.knows_stage(&pairs, &is.stage) => cause = Cause::NewStep,
                None => {}
            }
            position += 1;
        }
        nearest.map(|(_, earlier)| earlier).ok_or(cause)
    }

    /// In how many ways a step differs from what it was, what it is made of included.
    fn distance(&self, was: &StepFacts, is: &StepFacts, facts: &BuildFacts) -> usize {
        if was.definition == is.definition {
            return 0;
        }
        let mut inputs = was.inputs.iter().zip(&is.inputs).filter_map(|(was, is)| {
            let (was, is) = (facts.step(*was)?, self.facts.step(*is)?);
            (was.definition != is.definition).then_some(())
        });
        // A difference of its own counts for more than one that comes from above.
        2 * compare::distance(was, is) + usize::from(inputs.next().is_some())
    }

    /// Whether any step of a stage was one of an earlier build.
    fn knows_stage(&self, pairs: &HashMap<u32, u32>, stage: &str) -> bool {
        self.facts.steps.iter().any(|step| step.stage == stage && pairs.contains_key(&step.vertex))
    }

    fn alignment(&self, position: usize, facts: &BuildFacts) -> Arc<HashMap<u32, u32>> {
        if let Some(known) = self.alignments.borrow().get(&position) {
            return Arc::clone(known);
        }
        let pairs = align::pairs(facts, &self.facts);
        let pairs = Arc::new(pairs);
        self.alignments.borrow_mut().insert(position, Arc::clone(&pairs));
        pairs
    }

    /// The first input that was not found, and is a step.
    fn missed_parent(&self, step: &StepFacts, missed: &dyn Fn(u32) -> bool) -> Option<Cause> {
        let mut open = step.inputs.clone();
        while !open.is_empty() {
            let vertex = open.remove(0);
            let Some(above) = self.facts.step(vertex) else { continue };
            // Nobody sees a merge: what is merged is what people see.
            if above.is_hidden() {
                open.splice(0..0, above.inputs.iter().rev().copied());
                continue;
            }
            if missed(vertex) && above.image.is_none() {
                return Some(self.parent(vertex));
            }
        }
        None
    }

    /// An input that was found is not the one that the step was made on before: why it is another.
    fn moved_parent(&self, owner: &StepFacts, now: &StepFacts, earlier: &Earlier) -> Option<Cause> {
        for (position, (was, is)) in owner.inputs.iter().zip(&now.inputs).enumerate() {
            let (Some(was), Some(is)) = (earlier.facts.step(*was), self.facts.step(*is)) else { continue };
            if was.definition == is.definition {
                continue;
            }
            if was.is_hidden() || is.is_hidden() {
                return self.moved_parent(was, is, earlier).or_else(|| Some(self.another_step(is.vertex, None)));
            }
            let counterpart = earlier.pairs.get(&is.vertex);
            if counterpart == Some(&was.vertex) {
                // It is what changed, some builds ago.
                let taken = || {
                    let pair = compare::retaken(was, is)?;
                    Some(self.files(pair.was, pair.is, &earlier.facts))
                };
                let because = compare::differences(was, is)
                    .into_iter()
                    .next()
                    .or_else(taken)
                    .or_else(|| self.source(was, is, earlier, &|_| false));
                return Some(match because {
                    Some(cause) => self.another_step(is.vertex, Some(cause)),
                    None => self.moved_parent(was, is, earlier).unwrap_or_else(|| self.another_step(is.vertex, None)),
                });
            }
            if let (Some(image), None) = (&was.image, &is.image) {
                // It began with an image, and begins with a stage.
                if is.stage != now.stage {
                    let before = familiar(&image.name).to_owned();
                    return Some(another(position, &is.stage, before, is.stage.clone()));
                }
                return Some(Cause::Above { instruction: is.instruction.clone(), change: Change::Added });
            }
            let stage = earlier.facts.stage_of(counterpart.copied()).unwrap_or(&is.stage);
            let is_there = |step: &StepFacts| step.stage == now.stage && step.instruction == was.instruction;
            return Some(if was.stage != stage && was.stage != owner.stage {
                another(position, &is.stage, was.stage.clone(), is.stage.clone())
            } else if earlier.pairs.values().any(|paired| *paired == was.vertex)
                || self.facts.steps.iter().any(is_there)
            {
                Cause::Above { instruction: was.instruction.clone(), change: Change::Changed }
            } else {
                Cause::Above { instruction: was.instruction.clone(), change: Change::Removed }
            });
        }
        None
    }

    /// A step that was found is not the one that it was.
    fn another_step(&self, vertex: u32, because: Option<Cause>) -> Cause {
        let name = self.names.get(&vertex).cloned().unwrap_or_default();
        Cause::Another { vertex, name, because: because.map(Box::new) }
    }

    fn parent(&self, vertex: u32) -> Cause {
        Cause::Parent { vertex, name: self.names.get(&vertex).cloned().unwrap_or_default() }
    }

    /// A source that the step begins with, or takes from, is another.
    fn source(
        &self,
        owner: &StepFacts,
        now: &StepFacts,
        earlier: &Earlier,
        missed: &dyn Fn(u32) -> bool,
    ) -> Option<Cause> {
        for (position, (was, is)) in owner.inputs.iter().zip(&now.inputs).enumerate() {
            let (Some(was), Some(is)) = (earlier.facts.step(*was), self.facts.step(*is)) else { continue };
            if was.definition == is.definition {
                continue;
            }
            if is.is_hidden()
                && was.is_hidden()
                && let Some(cause) = self.source(was, is, earlier, missed)
            {
                return Some(cause);
            }
            // It has said so itself if it was not found.
            if let (Some((_, old)), Some((url, new))) = (&was.remote, &is.remote)
                && old != new
                && !missed(is.vertex)
            {
                return Some(Cause::Remote { url: url.clone() });
            }
            let Some(image) = &is.image else { continue };
            let name = familiar(&image.name);
            let (before, now) = match &was.image {
                Some(before) if before.name == image.name => (before.digest.clone(), image.digest.clone()),
                Some(before) => (Some(familiar(&before.name).to_owned()), Some(name.to_owned())),
                None => match was.instruction.strip_prefix("FROM ") {
                    Some(before) => (Some(before.to_owned()), Some(name.to_owned())),
                    // The steps that were between are gone.
                    None if was.stage == owner.stage => continue,
                    None => (Some(was.stage.clone()), Some(name.to_owned())),
                },
            };
            return Some(another(position, name, before.unwrap_or_default(), now.unwrap_or_default()));
        }
        None
    }

    fn files(&self, was: &Taken, is: &Taken, earlier: &BuildFacts) -> Cause {
        let lists = self.archive.files(&was.digest).zip(self.archive.files(&is.digest));
        let changes = lists.and_then(|(old, new)| FileChanges::between(&old, &new));
        if let Some(mount) = is.mount.clone().filter(|_| was.shown != is.shown) {
            let source =
                |taken: &Taken| taken.shown.split_once('=').map_or(taken.shown.clone(), |(_, it)| it.to_owned());
            return Cause::Mount { mount, what: format!("source {}, was {}", source(is), source(was)) };
        }
        let Some(mut changes) = changes else { return Cause::Content { taken: is.shown.clone() } };
        let before = earlier.ignore_files.get(&was.context);
        let now = self.facts.ignore_files.get(&is.context);
        changes.ignore_file = by_ignore_file(&changes, before, now);
        Cause::Files { taken: is.shown.clone(), changes }
    }
}

/// What a step is made on, or takes files from, is another.
fn another(position: usize, name: &str, was: String, is: String) -> Cause {
    let image = name.to_owned();
    if position == 0 { Cause::Base { image, was, is } } else { Cause::From { image, was, is } }
}

/// An image's name without what everybody leaves out.
fn familiar(name: &str) -> &str {
    let rest = name.strip_prefix("docker.io/").unwrap_or(name);
    rest.strip_prefix("library/").unwrap_or(rest)
}

/// The ignore file whose change brought or took all the files.
fn by_ignore_file(changes: &FileChanges, was: Option<&IgnoreFile>, is: Option<&IgnoreFile>) -> Option<String> {
    if was.map(|file| &file.patterns) == is.map(|file| &file.patterns) {
        return None;
    }
    let patterns = |file: Option<&IgnoreFile>| {
        let list = file.map(|file| file.patterns.as_slice()).unwrap_or_default();
        Patterns::from_list(list.iter().map(String::as_str)).ok()
    };
    let (before, now) = (patterns(was)?, patterns(is)?);
    let hides = |patterns: &Patterns, path: &str| patterns.matches(path.trim_end_matches('/').as_bytes()).is_excluded();
    let explained = changes.first.iter().all(|change| match change.how {
        FileDifference::Added => hides(&before, &change.path) && !hides(&now, &change.path),
        FileDifference::Removed => hides(&now, &change.path) && !hides(&before, &change.path),
        _ => false,
    });
    explained.then(|| is.or(was).map(|file| file.name.clone())).flatten()
}
