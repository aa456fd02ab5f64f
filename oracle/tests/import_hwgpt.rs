//! The importer of HW-GPT-Bench: small files of the published form, what is wrong in them, and the published ones.

use srnas_oracle::{
    benchmark::Benchmark,
    importers::{Imported, hwgpt},
    verify::verify,
};
use std::{env, fs, path::Path};
use tempfile::TempDir;

const HEAD: &str =
    "arch_id,embed_dim,n_layer,n_head,mlp_ratio,bias,perplexity,perplexity_mlp,accuracy,params,macs,flops";
/// Ten layers and twelve.
const SMALL: &str = "7,192,10,4-4-4-4-4-4-4-12-12-8,2-3-4-4-2-3-3-4-3-2,1,41.4,41.5,0.357,25599360,130,260";
const LARGE: &str = "9,768,12,4-4-4-4-4-4-4-4-4-4-4-12,2-2-2-2-2-2-2-2-2-2-2-4,0,,24.5,,149,1130,2260";
const HARDWARE: &str = "arch_id,a100_gpu_lat_p50,a100_gpu_lat_std,cpu_meta_cpu_lat_p50,a100_mem_MB,a100_gpu_energy_p50\n\
    9,20.5,0.1,2.5,900,0.0002\n7,10.5,0.1,1.5,140,0.0001\n";

fn import(folder: &Path) -> Result<Imported, String> {
    hwgpt::import(&[folder.to_path_buf()], &mut |_, _, _| {}).map_err(|e| e.to_string())
}

fn folder(rows: &[&str], hardware: Option<&str>) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("hwgpt_s_archs.csv"), format!("{HEAD}\n{}\n", rows.join("\n"))).unwrap();
    if let Some(hardware) = hardware {
        fs::write(folder.path().join("hwgpt_s_hardware.csv"), hardware).unwrap();
    }
    folder
}

#[test]
fn layers_that_there_are_not_do_not_count_and_hardware_is_joined_by_its_id() {
    let folder = folder(&[SMALL, LARGE], Some(HARDWARE));
    let imported = import(folder.path()).unwrap();
    assert_eq!(imported.absent, ["hwgpt_m_archs.csv.gz", "hwgpt_l_archs.csv.gz", "hwgpt_s_ppl_mlp.json.gz"]);
    let path = folder.path().join("hwgpt-s.safetensors");
    imported.benchmarks[0].clone().write(&path).unwrap();
    let benchmark = Benchmark::open(&path).unwrap();
    assert_eq!((benchmark.rows(), benchmark.space().len()), (2, 27));
    let value = |metric: &str, row| benchmark.metric(metric).unwrap().mean(row);
    assert_eq!((value("owt/a100_latency", 0), value("owt/a100_latency", 1)), (10.5, 20.5));
    // One run on a CPU was timed in seconds.
    assert_eq!(value("owt/cpu_meta_latency", 0), 1500.0);
    assert!(value("owt/perplexity", 1).is_nan() && value("owt/perplexity_net", 1) == 24.5);
    assert!(benchmark.metric("owt/a100_gpu_lat_std").is_err());
    // Whatever stands in layers that are not there, it is the same architecture.
    let space = benchmark.space();
    let mut other = benchmark.choices(0).to_vec();
    for name in ["heads11", "heads12", "mlp11", "mlp12"] {
        let at = space.decisions().iter().position(|decision| decision.name == name).unwrap();
        other[at] = 2;
    }
    assert_eq!(space.canonical_key(&other), space.canonical_key(benchmark.choices(0)));
    let last = space.decisions().iter().position(|decision| decision.name == "heads10").unwrap();
    other[last] = 0;
    assert_ne!(space.canonical_key(&other), space.canonical_key(benchmark.choices(0)));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let of = |row: &str, hardware: Option<&str>| import(folder(&[SMALL, row], hardware).path()).unwrap_err();
    for (row, says) in [
        (LARGE.replace(",768,", ",700,"), ":3: column 2, `embed_dim`: `700` is not one of 192, 384, 768"),
        (LARGE.replace(",12,4-", ",13,4-"), "`n_layer`: `13` is not one of 10, 11, 12"),
        (LARGE.replace(",12,4-", ",11,4-"), "`n_head`: 12 values for 11 layers"),
        (LARGE.replace("-2-4,", "-2-5,"), "`mlp_ratio`: `5` is not one of 2, 3, 4"),
        (LARGE.replace(",24.5,", ",much,"), "`perplexity_mlp`: `much` is not a number"),
        (SMALL.replace("7,192", "8,192"), "the same architecture as in line 2"),
        (LARGE.replace("9,768", "7,768"), "the id of line 2 again"),
    ] {
        let found = of(&row, None);
        assert!(found.contains(says), "{found}");
    }
    for (hardware, says) in [
        (HARDWARE.replace("\n7,", "\n8,"), "`8` is no architecture of hwgpt_s_archs"),
        (HARDWARE.replace("\n7,", "\n9,"), "the id of line 2 again"),
        (HARDWARE.replace("10.5", "fast"), "`a100_gpu_lat_p50`: `fast` is not a number"),
    ] {
        let found = of(LARGE, Some(&hardware));
        assert!(found.contains(says), "{found}");
    }
    let nothing = TempDir::new().unwrap();
    assert!(
        import(nothing.path()).unwrap_err().contains(
            "hwgpt_s_archs.csv.gz (or hwgpt_s_archs.csv), or that of hwgpt_m or hwgpt_l, is required"
        )
    );
}

#[test]
fn the_published_tables_are_as_they_are_known() {
    let Some(sources) = env::var_os("SRNAS_BENCH_SOURCES") else {
        eprintln!("skipped: SRNAS_BENCH_SOURCES names no folder of published tables");
        return;
    };
    let imported = import(Path::new(&sources)).unwrap();
    assert_eq!((imported.benchmarks.len(), imported.absent.len()), (3, 0));
    let folder = TempDir::new().unwrap();
    for benchmark in imported.benchmarks {
        let path = folder.path().join(format!("{}.safetensors", benchmark.name()));
        benchmark.write(&path).unwrap();
        let checks = verify(&Benchmark::open(&path).unwrap());
        assert!(checks.len() == 7 && checks.iter().all(|check| check.ok), "{checks:#?}");
    }
}
