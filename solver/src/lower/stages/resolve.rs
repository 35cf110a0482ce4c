//! What is no stage: images and named contexts, each noted once and resolved together with others.

use bld_oci::platform::Platform;
use bld_parser::source::Span;

use super::super::LowerError;
use super::super::report::Report;
use super::External;
use super::Stages;
use crate::solve::Tasks;
use crate::worker::SourceResolver;

impl Stages<'_> {
    /// Its position in the list of externals, where it is put if it is new.
    pub(super) fn intern(&mut self, name: &str, platform: &Platform, span: Span, copied: bool) -> usize {
        let key = (name.to_owned(), platform.clone());
        let id = *self.places.entry(key).or_insert_with_key(|(name, platform)| {
            let (name, platform) = (name.clone(), platform.clone());
            self.externals.push(External { name, platform, span, copied, asked: false, resolved: None });
            self.externals.len() - 1
        });
        if let Some(known) = self.externals.get_mut(id) {
            known.span = known.span.min(span);
            known.copied &= copied;
        }
        id
    }

    /// Resolves what is new, all at once; answers with what it is.
    pub(super) async fn resolve<S: SourceResolver>(
        &mut self,
        resolver: &S,
        report: &mut Report,
        unresolved: &mut Vec<LowerError<S::Error>>,
    ) -> Vec<usize> {
        let mut tasks = Tasks::new();
        for (id, external) in self.externals.iter().enumerate() {
            if !external.asked {
                tasks.push(id, resolver.resolve(&external.name, &external.platform));
            }
        }
        let mut outcomes = Vec::new();
        while let Some(outcome) = tasks.next().await {
            outcomes.push(outcome);
        }
        drop(tasks);
        outcomes.sort_by_key(|(id, _)| *id);
        let mut fresh = Vec::new();
        let names: Vec<&str> = self.names().collect();
        for (id, outcome) in outcomes {
            fresh.push(id);
            let Some(external) = self.externals.get_mut(id) else { continue };
            external.asked = true;
            match outcome {
                Ok(found) => external.resolved = Some(found),
                Err(source) => {
                    let (name, span) = (external.name.clone(), external.span);
                    let is_later = self.numbers.contains_key(&name.to_ascii_lowercase());
                    let later = format!("stage `{name}` is defined further down: move it up");
                    let unknown = external.copied && resolver.is_missing(&source);
                    let hint = match report.did_you_mean(&name, || names.clone()) {
                        _ if is_later => Some(later),
                        Some(near) if !external.copied => {
                            Some(format!("{near} As no stage above is called `{name}`, it was taken for an image"))
                        }
                        Some(near) => Some(near),
                        None if external.copied => {
                            let contexts = resolver.named_contexts();
                            report.did_you_mean(&name, || contexts.iter().map(String::as_str).collect())
                        }
                        None => None,
                    };
                    unresolved.push(LowerError::Source { name, span, unknown, hint, source });
                }
            }
        }
        fresh
    }
}
