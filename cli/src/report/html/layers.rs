//! The layers of the image, and what is stored in them for nothing.

use std::fmt::Write as _;

use super::text::Text;
use crate::report::ImageLayers;
use crate::report::short;
use crate::report::words;
use crate::ui::human_size;

pub(super) fn layers(layers: &ImageLayers) -> String {
    let stored: u64 = layers.layers.iter().map(|layer| layer.size).sum();
    let largest = layers.layers.iter().map(|layer| layer.size).max().unwrap_or(0);
    let mut out = String::from("<section id=\"layers\"><h2>Layers</h2>\n");
    let (count, size) = (words::count(layers.layers.len(), "layer", "layers"), human_size(stored));
    write!(out, "<p class=\"lead\">{size} of files in {count}; ").ok();
    match layers.wasted {
        0 => out.push_str("nothing is stored for nothing.</p>\n"),
        wasted => {
            let share = Text(&words::share(wasted, stored)).to_string();
            writeln!(
                out,
                "<strong>{} ({share})</strong> of that nobody sees: later layers replace or delete it.</p>",
                human_size(wasted)
            )
            .ok();
        }
    }
    out.push_str(
        "<table class=\"layers\"><thead><tr><th scope=\"col\" class=\"n\">#</th><th scope=\"col\">Made by</th>\
         <th scope=\"col\" class=\"q\">Files</th><th scope=\"col\" class=\"q\">Hidden</th><th class=\"chart\"></th></tr></thead><tbody>\n",
    );
    for (index, layer) in layers.layers.iter().enumerate() {
        let seen = words::percent(layer.size.saturating_sub(layer.wasted), largest);
        let hidden = words::percent(layer.wasted.min(layer.size), largest);
        let wasted = if layer.wasted == 0 { "–".to_owned() } else { human_size(layer.wasted) };
        writeln!(
            out,
            "<tr><td class=\"n\">{}</td><th scope=\"row\"><code>{}</code></th><td class=\"q\">{}</td><td class=\"q\">{wasted}</td>\
             <td class=\"chart\"><i class=\"seen\" style=\"width:{seen:.2}%\"></i><i class=\"hidden\" style=\"width:{hidden:.2}%\"></i></td></tr>",
            index + 1,
            Text(&short(&layer.command, 120)),
            human_size(layer.size)
        )
        .ok();
    }
    out.push_str("</tbody></table>\n");
    if !layers.hidden.is_empty() {
        out.push_str(
            "<h3>Largest hidden files</h3>\n<table class=\"hidden-files\"><thead><tr><th scope=\"col\">File</th>\
             <th scope=\"col\">How</th><th scope=\"col\" class=\"q\">Size</th></tr></thead><tbody>\n",
        );
        for file in &layers.hidden {
            let (stored, hidden) = file.layers;
            writeln!(
                out,
                "<tr><th scope=\"row\"><code>{}</code></th><td>layer {stored}, {} by layer {hidden}</td><td class=\"q\">{}</td></tr>",
                Text(&file.path),
                file.how,
                human_size(file.bytes)
            )
            .ok();
        }
        out.push_str("</tbody></table>\n");
    }
    out.push_str("</section>\n");
    out
}
