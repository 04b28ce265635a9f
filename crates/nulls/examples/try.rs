use bayeslora_nulls::*;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let grid = if args[1] == "full" { Grid::Full } else { Grid::Quick };
    let start = std::time::Instant::now();
    let done = std::sync::atomic::AtomicU64::new(0);
    let work = grid.work();
    let report = run(
        grid,
        0,
        &|w| {
            done.fetch_add(w, std::sync::atomic::Ordering::Relaxed);
        },
        &|what| {
            eprintln!(
                "{:.0}s {}/{} {what}",
                start.elapsed().as_secs_f64(),
                done.load(std::sync::atomic::Ordering::Relaxed),
                work
            );
        },
    )
    .unwrap();
    std::fs::create_dir_all(&args[2]).unwrap();
    let word = if grid == Grid::Full { "full" } else { "quick" };
    std::fs::write(
        format!("{}/table.md", args[2]),
        page(&format!("bayeslora nulls --grid {word} --seed 0"), 0, &report).markdown(),
    )
    .unwrap();
    std::fs::write(format!("{}/table.csv", args[2]), csv(&report).unwrap()).unwrap();
}
