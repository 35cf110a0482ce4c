//! Cache keys: different fields, different keys.

use bld_cache::key::CacheKey;
use bld_cache::key::Domain;
use bld_cache::key::KeyHasher;
use proptest::prelude::*;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    Text(String, String),
    List(String, Vec<String>),
}

fn key(fields: &[Field]) -> CacheKey {
    let mut hasher = KeyHasher::new(Domain("bld.test.v1"));
    for field in fields {
        hasher = match field {
            Field::Text(name, value) => hasher.text(name, value),
            Field::List(name, values) => hasher.list(name, values.iter()),
        };
    }
    hasher.finish().0
}

fn field() -> impl Strategy<Value = Field> {
    // Names come from a fixed set and a name has one shape, as in any one version of a domain.
    prop_oneof![
        ("[ab]", "[ab]{0,3}").prop_map(|(name, value)| Field::Text(name, value)),
        ("[cd]", prop::collection::vec("[ab]{0,3}", 0..3)).prop_map(|(name, values)| Field::List(name, values)),
    ]
}

#[test]
fn fields_do_not_run_together() {
    let text = |left: &str, right: &str| {
        key(&[Field::Text("a".to_owned(), left.to_owned()), Field::Text("a".to_owned(), right.to_owned())])
    };
    assert_ne!(text("ab", "c"), text("a", "bc"));
    assert_ne!(KeyHasher::new(Domain("a")).finish().0, KeyHasher::new(Domain("b")).finish().0);
}

#[test]
fn parts_are_kept() {
    let (_, parts) = KeyHasher::new(Domain("a")).text("name", "value").bytes("raw", &[0xff]).finish();
    let shown: Vec<_> = parts.iter().map(|part| (part.name.as_str(), part.value.as_str())).collect();
    assert_eq!(shown, [("name", "value"), ("raw", "ff")]);
}

proptest! {
    #[test]
    fn equal_fields_equal_keys(left in prop::collection::vec(field(), 0..4), right in prop::collection::vec(field(), 0..4)) {
        prop_assert_eq!(left == right, key(&left) == key(&right));
    }
}
