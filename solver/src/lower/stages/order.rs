//! Whether the stages come in a possible order: a stage can only use earlier ones.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::VecDeque;

use bld_parser::source::Span;

use super::super::report::Report;
use super::Stages;

impl Stages<'_> {
    /// A stage can only use earlier ones. Where it uses a later one, that one may need it in turn.
    pub(super) fn check_order(&self, report: &mut Report) {
        for (index, needed) in &self.needed {
            for (later, span) in needed.uses.iter().filter(|(used, _)| used >= index) {
                if let Some(way) = self.way(*later, *index) {
                    self.report_circle(*index, *span, &way, report);
                    continue;
                }
                let (later, own) = (self.label(*later), self.label(*index));
                let message = format!("stage `{own}` cannot use stage `{later}`: it is defined further down");
                let hint = format!("move stage `{later}` up, before stage `{own}`");
                report.error("CopyFromLaterStage", *span, message, Some(hint));
            }
        }
    }

    /// The shortest way from a stage to one it needs: pairs of a stage and where it needs the next.
    fn way(&self, from: usize, to: usize) -> Option<Vec<(usize, Span)>> {
        let mut came_from: BTreeMap<usize, (usize, Span)> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        let mut seen = BTreeSet::from([from]);
        while let Some(stage) = queue.pop_front() {
            if stage == to {
                let mut way = Vec::new();
                let mut place = to;
                while let Some((before, span)) = came_from.get(&place).filter(|_| place != from) {
                    way.push((*before, *span));
                    place = *before;
                }
                way.reverse();
                return Some(way);
            }
            for (next, span) in self.needed.get(&stage).map_or(&[][..], |needed| &needed.uses) {
                if seen.insert(*next) {
                    came_from.insert(*next, (stage, *span));
                    queue.push_back(*next);
                }
            }
        }
        None
    }

    fn report_circle(&self, first: usize, span: Span, way: &[(usize, Span)], report: &mut Report) {
        let circle: Vec<(usize, Span)> = std::iter::once((first, span)).chain(way.iter().copied()).collect();
        // Always told from its lowest stage, so that it is reported once however it was found.
        let start = (0..circle.len()).min_by_key(|position| circle[*position].0).unwrap_or(0);
        let turned = circle.iter().cycle().skip(start).take(circle.len());
        let mut labels: Vec<String> = turned.map(|(stage, _)| format!("`{}`", self.label(*stage))).collect();
        labels.extend(labels.first().cloned());
        let nexts = circle.iter().cycle().skip(1).map(|(stage, _)| *stage);
        for ((stage, span), next) in circle.iter().zip(nexts) {
            let message = format!("circular dependency of stages: {}", labels.join(" needs "));
            let hint = match circle.len() {
                1 if self.dockerfile.stages.get(*stage).is_some_and(|stage| stage.from.base.span == *span) => format!(
                    "an ONBUILD of the base takes files from `{}`, the stage it runs in: correct it there",
                    self.label(*stage)
                ),
                1 => "a stage cannot take files from itself: name another one".to_owned(),
                _ => format!(
                    "stage `{}` needs `{}` here: break the circle, let one of them use a third stage",
                    self.label(*stage),
                    self.label(next)
                ),
            };
            report.error("CircularStages", *span, message, Some(hint));
        }
    }
}
