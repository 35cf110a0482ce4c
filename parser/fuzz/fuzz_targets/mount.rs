//! Options of mounts: places, keys once, and plain fields against splitting at commas.

#![no_main]

use bld_parser::ast::Word;
use bld_parser::mount;
use bld_parser::source::Span;

const START: usize = 1000;

libfuzzer_sys::fuzz_target!(|raw: &str| {
    let exact = Word { raw: raw.to_owned(), span: Span::new(START, START + raw.len()) };
    let (options, mistakes) = mount::options(&exact);
    let place = |span: Span| {
        let (start, end) = (span.start as usize - START, span.end as usize - START);
        raw.get(start..end).unwrap_or_else(|| panic!("{span:?} of {raw:?}"))
    };
    for mistake in &mistakes {
        place(mistake.span);
    }
    for (index, option) in options.iter().enumerate() {
        assert!(options[..index].iter().all(|other| other.key != option.key));
        let text = place(option.span);
        if let Some(value) = &option.value {
            assert!(!value.raw.is_empty());
            let value_text = place(value.span);
            if text.starts_with('"') {
                assert_eq!(value.span, option.span);
            } else {
                assert_eq!(value_text, value.raw);
                assert_eq!(text, format!("{}={}", option.name, value.raw));
            }
        }
    }
    if !raw.contains('"') {
        assert_eq!(options.len() + mistakes.len(), raw.split(',').count());
    }
    let inexact = Word { raw: raw.to_owned(), span: Span::new(START, START + raw.len() + 3) };
    let (again, mistakes_again) = mount::options(&inexact);
    assert_eq!((again.len(), mistakes_again.len()), (options.len(), mistakes.len()));
    assert!(again.iter().all(|option| option.span == inexact.span));
});
