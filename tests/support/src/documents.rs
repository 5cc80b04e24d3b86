//! What documents show in fenced blocks.

/// A document of the repository, by its path there.
#[track_caller]
pub fn document(path: &str) -> String {
    std::fs::read_to_string(crate::repository().join(path)).expect("the document can be read")
}

/// The fenced blocks of a document: what stands behind the opening fence, and the text.
pub fn blocks(text: &str) -> Vec<(&str, String)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```") {
            let block = lines.by_ref().take_while(|line| *line != "```").flat_map(|line| [line, "\n"]);
            blocks.push((kind, block.collect()));
        }
    }
    blocks
}
