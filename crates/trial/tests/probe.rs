use quorate_core::Mutants;
use quorate_sim::{Until, run_seeds};
use quorate_trial::{Suspect, plan, run};
#[test]
fn probe() {
    let name: &'static str = std::env::var("M").unwrap().leak();
    let n: u64 = std::env::var("N").unwrap().parse().unwrap();
    let suspect = if name == "none" { Suspect::default() } else { Suspect { mutants: Mutants::only(name), ..Suspect::default() } };
    let c = run_seeds(0..n / 8, 2, Until::AllSeeds, |k| run(suspect, &plan(k * 8 + 4, "")));
    println!("{name}: {} of {} in {:?} held judged {:?}", c.failures.len(), n / 8, c.took, c.judged);
    println!("{}", c.counters);
    for f in c.failures.iter().take(12) { println!("  {} {} {:?} {}", f.replay.seed, f.rule, f.at, f.what.lines().next().unwrap()); }
}
