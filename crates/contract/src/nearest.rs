//! The known word that somebody may have meant who wrote an unknown one.

/// The known word that is closest to `word`, if one is close: a third of its letters may be other ones.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let far = word.chars().count() / 3;
    let closest = known.map(|known| (strsim::osa_distance(word, known), known)).min();
    closest.filter(|(distance, _)| *distance <= far).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_keyboard_is_understood_and_another_word_is_not() {
        let known = || ["memory_bytes", "log_format", "rack"].into_iter();
        assert_eq!(nearest("memmory_byte", known()), Some("memory_bytes"));
        assert_eq!(nearest("logfromat", known()), Some("log_format"));
        assert_eq!(nearest("rcak", known()), Some("rack"));
        assert_eq!(nearest("surprise", known()), None);
        assert_eq!(nearest("", known()), None);
    }
}
