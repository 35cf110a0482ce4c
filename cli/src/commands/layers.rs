//! `bld layers`: what each step of an image adds, changes and deletes, and what is stored that nobody sees.

use bld_cache::Store;
use bld_executor::image::local;
use bld_executor::image::local::LocalImage;
use bld_executor::image::waste::Count;
use bld_executor::image::waste::Waste;
use bld_executor::worker::Layers;
use bld_executor::worker::layer_mode;
use bld_oci::image::steps;
use serde_json::json;

use super::Session;
use super::image_error;
use super::print;
use super::taken::store_for;
use super::taken::taken_image;
use crate::args::images::LayersArgs;
use crate::error::CommandError;
use crate::reference;
use crate::ui::human_size;
use crate::ui::sanitize;
use crate::ui::table;

/// How much of a command is shown.
const SHOWN: usize = 50;

pub(super) fn run(session: &Session, args: &LayersArgs) -> Result<(), CommandError> {
    let max_size = args.max_size.as_deref().map(|text| bytes("--max-size", text)).transpose()?;
    let max_waste = args.max_waste.as_deref().map(Limit::parse).transpose()?;
    let store = store_for(session, &[&args.image])?;
    let _lease = store.lease()?;
    let image = taken_image(&store, &args.image, args.platform.as_deref())?;
    let base = match &args.base {
        Some(name) => Some(given_base(&store, name, &image)?),
        None => known_base(&store, &image)?,
    };
    session.bring_layers(&store, std::slice::from_ref(&image.descriptor))?;
    let layers = Layers::new(store.clone(), layer_mode(session.identity));
    let stack = local::stack(&store, &layers, &image).map_err(|error| image_error(&error))?;
    let trees: Vec<_> = stack.into_iter().map(|(tree, _)| tree).collect();
    let report = Report { steps: rows(&image)?, waste: Waste::of(&trees), base, image };
    print(&if args.format == "json" { report.json(args.top)? } else { report.text(args.top) })?;
    let (stored, wasted) = (report.waste.stored(), report.waste.wasted());
    if let Some(limit) = max_size.filter(|limit| stored > *limit) {
        return Err(CommandError::failed(format!(
            "the image has {} of files, more than --max-size {}",
            human_size(stored),
            human_size(limit)
        )));
    }
    match max_waste {
        Some(limit) if limit.is_exceeded(wasted, stored) => Err(CommandError::failed(format!(
            "{} of {} are stored for nothing, more than --max-waste {}",
            human_size(wasted),
            human_size(stored),
            args.max_waste.as_deref().unwrap_or_default()
        ))
        .hint("files that a later step replaces or deletes stay in the image: make and delete them in one RUN")),
        _ => Ok(()),
    }
}

/// `--max-waste`.
enum Limit {
    Bytes(u64),
    Percent(f64),
}

impl Limit {
    fn parse(text: &str) -> Result<Limit, CommandError> {
        let Some(number) = text.strip_suffix('%') else { return bytes("--max-waste", text).map(Limit::Bytes) };
        match number.trim().parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Limit::Percent(percent)),
            _ => Err(CommandError::usage(format!("`--max-waste {text}` is not a part between 0% and 100%"))),
        }
    }

    fn is_exceeded(&self, wasted: u64, stored: u64) -> bool {
        match self {
            Limit::Bytes(limit) => wasted > *limit,
            Limit::Percent(limit) => percent(wasted, stored) > *limit,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// Sizes as docker prints them: powers of 1000, or with an `i` of 1024.
fn bytes(flag: &str, text: &str) -> Result<u64, CommandError> {
    let refuse =
        || CommandError::usage(format!("`{flag} {text}` is not a size")).hint("write a number with kB, MB or GB");
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (lower, step) = lower.strip_suffix('i').map_or((lower, 1000.0), |lower| (lower, 1024.0));
    let powers = [("k", 1), ("m", 2), ("g", 3), ("t", 4)];
    let (digits, power) =
        powers.iter().find_map(|(unit, power)| Some((lower.strip_suffix(unit)?, *power))).unwrap_or((lower, 0));
    let number: f64 = digits.trim().parse().map_err(|_| refuse())?;
    let bytes = number * f64::powi(step, power);
    if !(0.0..1e18).contains(&bytes) {
        return Err(refuse());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
    Ok(bytes.round() as u64)
}

/// How many of the image's layers are its base's, and what that is called.
struct Base {
    name: String,
    layers: usize,
}

fn given_base(store: &Store, name: &str, image: &LocalImage) -> Result<Base, CommandError> {
    let base = taken_image(store, name, None)?;
    if !image.config.diff_ids.starts_with(&base.config.diff_ids) {
        return Err(CommandError::failed(format!("the image was not built on `{name}`: its first layers are others")));
    }
    Ok(Base { name: name.to_owned(), layers: base.config.diff_ids.len() })
}

/// The image of the store with the most layers that are the first of this one.
fn known_base(store: &Store, image: &LocalImage) -> Result<Option<Base>, CommandError> {
    let mut best: Option<Base> = None;
    for (name, descriptor) in store.images().list()? {
        let Some(name) = name else { continue };
        let Ok(other) = local::open_any(store, &descriptor, &image.config.platform()) else { continue };
        let layers = other.config.diff_ids.len();
        let is_base = layers < image.config.diff_ids.len() && image.config.diff_ids.starts_with(&other.config.diff_ids);
        if is_base && layers > best.as_ref().map_or(0, |best| best.layers) {
            best = Some(Base { name: reference::familiar(&name), layers });
        }
    }
    Ok(best)
}

/// The command and the blob's size of each step with a layer.
pub(super) fn rows(image: &LocalImage) -> Result<Vec<(String, u64)>, CommandError> {
    let steps = steps(&image.config, &image.manifest)?.into_iter();
    let row = |step: bld_oci::image::Step| {
        let text = |field: &str| step.history.get(field).and_then(|value| value.as_str()).unwrap_or_default();
        let shown = if text("created_by").is_empty() { text("comment") } else { text("created_by") };
        let shown = shown.trim_end_matches(" # buildkit").replace(['\n', '\t'], " ");
        Some((sanitize(&shown), step.layer?.blob.size))
    };
    Ok(steps.filter_map(row).collect())
}

struct Report {
    image: LocalImage,
    steps: Vec<(String, u64)>,
    waste: Waste,
    base: Option<Base>,
}

impl Report {
    /// Files and their bytes that the base brought, and that the image's own steps did.
    fn shares(&self) -> (u64, u64) {
        let base = self.base.as_ref().map_or(0, |base| base.layers);
        let size = |layers: &[bld_executor::image::waste::LayerChanges]| layers.iter().map(|layer| layer.size).sum();
        let (below, own) = self.waste.layers.split_at(base.min(self.waste.layers.len()));
        (size(below), size(own))
    }

    fn text(&self, top: usize) -> String {
        let count = |count: Count| match count.files {
            0 => "-".to_owned(),
            files => format!("{files} ({})", human_size(count.bytes)),
        };
        let mut rows = vec![row(["STEP", "SIZE", "STORED", "ADDED", "CHANGED", "DELETED", "CREATED BY"])];
        let base = self.base.as_ref().map_or(0, |base| base.layers);
        for (index, (layer, (command, blob))) in self.waste.layers.iter().zip(&self.steps).enumerate() {
            let mut shown: String = command.chars().take(SHOWN).collect();
            if shown.len() < command.len() {
                shown.push('…');
            }
            let number = if index < base { format!("{} base", index + 1) } else { (index + 1).to_string() };
            let (size, blob) = (human_size(layer.size), human_size(*blob));
            rows.push(vec![number, size, blob, count(layer.added), count(layer.changed), count(layer.deleted), shown]);
        }
        let mut out = table::docker(&rows);
        let (below, own) = self.shares();
        let stored = self.waste.stored();
        out.push_str(&format!("\n{} of files in {} layers", human_size(stored), self.waste.layers.len()));
        match &self.base {
            Some(base) => out.push_str(&format!(
                ": base {} {} ({:.1}%), own {} ({:.1}%)\n",
                base.name,
                human_size(below),
                percent(below, stored),
                human_size(own),
                percent(own, stored)
            )),
            None => out.push_str("; the base is not known (--base IMAGE names it)\n"),
        }
        let wasted = self.waste.wasted();
        let again: u64 = self.waste.layers.iter().map(|layer| layer.unchanged_bytes.bytes).sum();
        out.push_str(&format!("{} ({:.1}%) stored for nothing", human_size(wasted), percent(wasted, stored)));
        out.push_str(&match again {
            0 => "\n".to_owned(),
            again => format!(", of that {} because only mode, owner or time changed\n", human_size(again)),
        });
        let hidden: Vec<_> = self.waste.hidden.iter().filter(|hidden| hidden.bytes > 0).take(top).collect();
        if !hidden.is_empty() {
            out.push_str("\nLargest of that:\n");
            let rows = hidden.iter().map(|hidden| {
                let how = match (hidden.deleted, hidden.same_bytes) {
                    (true, _) => "deleted",
                    (false, true) => "stored again",
                    (false, false) => "replaced",
                };
                let why = format!("step {}, {how} by step {}", hidden.stored_by + 1, hidden.hidden_by + 1);
                vec![human_size(hidden.bytes), sanitize(&hidden.path.to_string()), why]
            });
            out.push_str(&table::columns(&rows.collect::<Vec<_>>(), 3));
        }
        let visible: Vec<_> = self.waste.visible.iter().filter(|file| file.bytes > 0).take(top).collect();
        if !visible.is_empty() {
            out.push_str("\nLargest files:\n");
            let rows = visible.iter().map(|file| {
                let step = format!("step {}", file.stored_by + 1);
                vec![human_size(file.bytes), sanitize(&file.path.to_string()), step]
            });
            out.push_str(&table::columns(&rows.collect::<Vec<_>>(), 3));
        }
        out
    }

    fn json(&self, top: usize) -> Result<String, CommandError> {
        let count = |count: Count| json!({ "files": count.files, "bytes": count.bytes });
        let layers = self.waste.layers.iter().zip(&self.steps).zip(&self.image.config.diff_ids).enumerate();
        let base = self.base.as_ref().map_or(0, |base| base.layers);
        let layers = layers.map(|(index, ((layer, (command, blob)), diff_id))| {
            json!({
                "step": index + 1, "diffId": diff_id.to_string(), "createdBy": command, "base": index < base,
                "size": layer.size, "blobSize": blob, "added": count(layer.added), "changed": count(layer.changed),
                "sameBytes": count(layer.unchanged_bytes), "deleted": count(layer.deleted),
            })
        });
        let hidden = self.waste.hidden.iter().take(top).map(|hidden| {
            json!({
                "path": hidden.path.to_string(), "bytes": hidden.bytes, "storedBy": hidden.stored_by + 1,
                "hiddenBy": hidden.hidden_by + 1, "deleted": hidden.deleted, "sameBytes": hidden.same_bytes,
            })
        });
        let visible =
            self.waste.visible.iter().take(top).map(
                |file| json!({ "path": file.path.to_string(), "bytes": file.bytes, "storedBy": file.stored_by + 1 }),
            );
        let (below, own) = self.shares();
        let (stored, wasted) = (self.waste.stored(), self.waste.wasted());
        let document = json!({
            "id": self.image.manifest.config.digest,
            "size": stored, "waste": wasted, "wastePercent": percent(wasted, stored),
            "base": self.base.as_ref().map(|base| json!({ "name": base.name, "layers": base.layers, "size": below })),
            "own": own,
            "layers": layers.collect::<Vec<_>>(),
            "wasted": hidden.collect::<Vec<_>>(),
            "largest": visible.collect::<Vec<_>>(),
        });
        debug_assert_eq!(self.steps.len(), self.waste.layers.len(), "steps and layers come from one list");
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_parts() {
        for (text, expected) in
            [("0", 0), ("200MB", 200_000_000), ("1.5GB", 1_500_000_000), ("64k", 64_000), ("1MiB", 1 << 20), ("7b", 7)]
        {
            assert_eq!(bytes("--max-size", text).ok(), Some(expected), "{text}");
        }
        for text in ["", "MB", "-1", "x", "1e30", "NaN"] {
            assert!(bytes("--max-size", text).is_err(), "{text}");
        }
        assert!(Limit::parse("5%").unwrap().is_exceeded(6, 100) && !Limit::parse("5%").unwrap().is_exceeded(5, 100));
        assert!(Limit::parse("101%").is_err() && Limit::parse("x%").is_err());
        assert!(Limit::parse("1kB").unwrap().is_exceeded(1001, 2000));
    }
}
