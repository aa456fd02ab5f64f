//! Help with misspelt names.

/// The known names nearest to `name`, as the end of an error message: `; did you mean …?`, else a list of what there is.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let mut ranked: Vec<(f64, &str)> = known
        .into_iter()
        .map(|k| (strsim::jaro_winkler(&name.to_lowercase(), &k.to_lowercase()), k))
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    // What is known from two places is said once.
    ranked.dedup_by(|a, b| a.1 == b.1);
    let near: Vec<String> =
        ranked.iter().filter(|(s, _)| *s > 0.8).take(3).map(|(_, k)| format!("`{k}`")).collect();
    if !near.is_empty() {
        return format!("; did you mean {}?", near.join(" or "));
    }
    match ranked.len() {
        0 => "; there is none".into(),
        n => {
            let mut shown: Vec<&str> = ranked.iter().take(8).map(|(_, k)| *k).collect();
            shown.sort_unstable();
            let more = if n > 8 { format!(" and {} more", n - 8) } else { String::new() };
            format!("; there is {}{more}", shown.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn the_nearest_name_comes_first_and_strangers_get_the_list() {
        assert_eq!(did_you_mean("horizn", ["horizon", "betas"]), "; did you mean `horizon`?");
        assert_eq!(did_you_mean("zzz", ["horizon", "betas"]), "; there is betas, horizon");
        assert_eq!(did_you_mean("zzz", []), "; there is none");
    }

    #[test]
    fn a_name_known_from_two_places_is_said_once() {
        assert_eq!(did_you_mean("nb20", ["nb201", "digits", "nb201"]), "; did you mean `nb201`?");
        assert_eq!(did_you_mean("zzz", ["b", "a", "b", "a"]), "; there is a, b");
        // As many times as a table has rows, and still no more than eight in all.
        let many = ["a", "b", "a", "b", "a", "b", "a", "b", "a", "b"];
        assert_eq!(did_you_mean("zzz", many), "; there is a, b");
    }
}
