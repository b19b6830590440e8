//! Each kernel broken on purpose, in one place at a time: somebody must notice.

use super::*;

/// Faults in every kernel, each a text of the WGSL and another in its place.
const FAULTS: [(&str, &str); 39] = [
    // keys
    ("extractBits(load[bit / 32u], bit % 32u,", "extractBits(load[bit / 32u], 0u,"),
    ("select(load.zw, load.xy, i == 0u)", "load.xy"),
    ("min(points - before, 32u)", "32u"),
    // select
    ("&& at_most(key, range_last(low))", ""),
    ("passed |= candidates;", ""),
    ("0x10204080u", "0x10204000u"),
    ("(two.w << 6u)", "(two.z << 6u)"),
    ("(one.w << 3u)", "(one.z << 3u)"),
    ("(u32(high) << 1u)", "(u32(low) << 1u)"),
    ("& no_borrow", "& vec4<u32>(upper)"),
    ("passed |= mask[word];", ""),
    ("bits[(shape.planes - 1u) * shape.plane_words + word] = passed;", ""),
    ("if next != group && run != 0u", "if false && run != 0u"),
    // rank
    ("if local >= distance", "if local > distance"),
    ("+= sums[", "= sums["),
    // count
    ("atomicAdd(&counts[pixel + group * TILE_PIXELS], points);", "atomicStore(&counts[pixel + group * TILE_PIXELS], points);"),
    ("Slice(job.point_base + point_from,", "Slice(point_from,"),
    ("even_bits(code >> 1u) * 256u", "even_bits(code) * 256u"),
    ("code |= cells[job.code_base + cell] << (32u - shift);", ""),
    ("cells[job.code_base + inside + step] >> shift == pixel", "false"),
    ("lo[job.point_base + inside + step]", "lo[inside + step]"),
    ("& head & tail", "& head"),
    // distribution
    ("totals.large[place + i] = points;", "totals.large[place + i] = 5u;"),
    ("atomicAdd(&tiny[points], pixels);", "atomicAdd(&tiny[points], 1u);"),
    ("slice_totals[index] = total", "slice_totals[index] = 1u + total"),
    // aggregate
    ("points &= 0xFFFFFFFFu << (job.point_from - first);", ""),
    ("points &= 0xFFFFFFFFu >> (first + 32u - job.point_to);", ""),
    ("key.y - u32(key.x == 0u)", "key.y"),
    ("z_added += u32(y + y_added < y_added);", "z_added += 0u;"),
    ("let y_added = sum.y + carry_x;", "let y_added = sum.y;"),
    ("a.z + b.z + u32(y < b.y)", "a.z + b.z"),
    ("atomicLoad(&found[pixel]) == sum.y", "true"),
    ("if next != code && points > 0u", "if false && points > 0u"),
    ("value = worth[value.x];", "value = worth[0u];"),
    // histogram
    ("select(bin, outside, bin == NO_BIN)", "bin"),
    ("wanted &= area[word];", "wanted |= area[word];"),
    ("points += atomicLoad(&local_counts", "points = atomicLoad(&local_counts"),
    ("if next != slot && points > 0u", "if false && points > 0u"),
    ("low == 0u || low > histogram_of.bins_len", "low == 0u"),
];

#[test]
fn a_fault_in_any_kernel_is_noticed() {
    const ZOOMS: [u8; 4] = [0, 7, 11, 22];
    if gpu().is_none() {
        return;
    }
    let (_folder, dataset) = large(170_000);
    let cpu = CpuEngine::new(dataset.clone());
    let groups = [Groups::none(&dataset), Groups::by_column(&dataset, ColumnId(0), &[]).unwrap()].map(Arc::new);
    let [all, nested, _] = filters();
    let questions = [(&nested, &groups[0]), (&nested, &groups[1]), (&all, &groups[0]), (&all, &groups[1])];
    let expected = questions.map(|(filter, groups)| answers(&cpu, filter, groups, &ZOOMS));
    let differs = |broken: Option<(&'static str, &'static str)>| {
        let gpu = own_gpu(&GpuOptions { broken, ..GpuOptions::default() }).expect("there was one a moment ago");
        let engine = GpuEngine::new(gpu, dataset.clone());
        let mut asked = questions.iter().zip(&expected);
        asked.find_map(|((filter, groups), expected)| difference(expected, &engine, filter, groups, &ZOOMS))
    };
    assert_eq!(differs(None), None);
    for fault in FAULTS {
        assert!(differs(Some(fault)).is_some(), "nobody noticed {fault:?}");
    }
}
