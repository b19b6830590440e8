//! The WGSL of the kernels, with what they share put before each.

/// A shader module: its name, and its source with the shared parts before it.
pub(super) struct Source {
    pub name: &'static str,
    pub wgsl: &'static str,
}

macro_rules! source {
    ($name:literal, $($shared:literal),*) => {
        Source {
            name: $name,
            wgsl: concat!($(include_str!(concat!("../../../shaders/shared/", $shared, ".wgsl")),)* include_str!(concat!("../../../shaders/", $name, ".wgsl"))),
        }
    };
}

pub(super) const SELECT: Source = source!("select", "keys", "bitmap");
pub(super) const RANK: Source = source!("rank", "bitmap");
pub(super) const COUNT: Source = source!("count", "bitmap", "slices");
pub(super) const HISTOGRAM: Source = source!("histogram", "keys", "bitmap");
pub(super) const AGGREGATE: Source = source!("aggregate", "keys", "bitmap", "slices");
pub(super) const DISTRIBUTION: Source = source!("distribution", "bitmap", "slices");

#[cfg(test)]
mod tests {
    use super::super::layout;
    use super::*;
    use std::collections::BTreeMap;
    use std::path::Path;

    const ALL: [&Source; 6] = [&SELECT, &RANK, &COUNT, &HISTOGRAM, &DISTRIBUTION, &AGGREGATE];

    fn parsed(source: &Source) -> naga::Module {
        naga::front::wgsl::parse_str(source.wgsl).unwrap_or_else(|e| panic!("{}: {}", source.name, e.emit_to_string(source.wgsl)))
    }

    #[test]
    fn every_shader_is_valid_and_none_is_forgotten() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
        let mut found: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str().unwrap().strip_suffix(".wgsl").map(str::to_owned))
            .collect();
        found.sort();
        let mut known: Vec<&str> = ALL.iter().map(|source| source.name).collect();
        known.sort_unstable();
        assert_eq!(found, known);
        for source in ALL {
            let module = parsed(source);
            assert!(!module.entry_points.is_empty(), "{}", source.name);
            let flags = naga::valid::ValidationFlags::all();
            let mut validator = naga::valid::Validator::new(flags, naga::valid::Capabilities::empty());
            validator.validate(&module).unwrap_or_else(|e| panic!("{}: {}", source.name, e.emit_to_string(source.wgsl)));
            let twin = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/engine/cpu/{}.rs", source.name));
            assert!(twin.is_file(), "{} has no CPU twin", source.name);
        }
    }

    #[test]
    fn structures_have_the_same_layout_in_rust_and_wgsl() {
        let mut in_wgsl: BTreeMap<String, (usize, Vec<(String, usize)>)> = BTreeMap::new();
        for source in ALL {
            for (_, kind) in parsed(source).types.iter() {
                if let (Some(name), naga::TypeInner::Struct { members, span }) = (&kind.name, &kind.inner) {
                    let fields = members.iter().map(|m| (m.name.clone().unwrap(), m.offset as usize)).collect();
                    in_wgsl.insert(name.clone(), (*span as usize, fields));
                }
            }
        }
        for (name, size, fields) in layout::layouts() {
            let fields: Vec<(String, usize)> = fields.into_iter().map(|(n, o)| (n.to_owned(), o)).collect();
            assert_eq!(in_wgsl.get(name), Some(&(size, fields)), "{name}");
        }
        // What the host builds of a header and a list begins its list right after the header.
        for (name, header) in [("Work", "WorkHeader"), ("Slices", "SlicesHeader"), ("SelectKeys", "SelectKeysHeader")] {
            assert_eq!(in_wgsl[name].1[1].1, in_wgsl[header].0, "{name}");
        }
    }

    #[test]
    fn constants_are_the_same_in_rust_and_wgsl() {
        use layout::constants::*;
        let expected = BTreeMap::from([
            ("WORKGROUP", WORKGROUP), ("SET", SET), ("AND", AND), ("OR", OR), ("NONE_PASS", NONE_PASS), ("ALL_PASS", ALL_PASS),
            ("ENTRIES", ENTRIES), ("CELLS", CELLS), ("POINTS", POINTS), ("EDGES", EDGES), ("SMALL", SMALL),
            ("WORDS_PER_WORKGROUP", WORDS_PER_WORKGROUP), ("LOCAL_SLOTS", LOCAL_SLOTS), ("SPLIT_WORDS", SPLIT_WORDS),
            ("RANK_WORDS", RANK_WORDS), ("BLOCK_WORDS", BLOCK_WORDS), ("TILE_PIXELS", TILE_PIXELS),
            ("SUM", SUM), ("MOST", MOST), ("LEAST", LEAST),
            ("GROUPS_MAX", crate::engine::GROUPS_MAX as u32), ("RANK_POINTS", crate::engine::bitmap::RANK_POINTS as u32),
            ("NO_BIN", u32::from(crate::engine::Bins::NONE)),
        ]);
        let mut compared = std::collections::BTreeSet::new();
        for source in ALL {
            let module = parsed(source);
            for (_, constant) in module.constants.iter() {
                let Some((&name, &value)) = constant.name.as_deref().and_then(|name| expected.get_key_value(name)) else { continue };
                let literal = &module.global_expressions[constant.init];
                assert!(matches!(literal, naga::Expression::Literal(naga::Literal::U32(v)) if *v == value), "{name}: {literal:?}");
                compared.insert(name);
            }
            for entry in &module.entry_points {
                assert_eq!(entry.workgroup_size, [WORKGROUP, 1, 1], "{}", entry.name);
            }
        }
        assert_eq!(compared.len(), expected.len(), "compared only {compared:?}");
    }
}
