//! Salvage, verify and views of whatever segments hold; the input is that of `segments`.

/// Looks, and changes nothing.
pub fn run(data: &[u8]) {
    let (disk, _) = super::segments::stored(data);
    let before = disk.segments();
    super::stored::look(&|| disk.clone());
    assert_eq!(disk.segments(), before, "looking changes nothing");
}
