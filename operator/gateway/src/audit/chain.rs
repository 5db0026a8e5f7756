//! Chains the lines of the audit log: each holds the hash of the one before it, so that none can be changed, left out or put in
//! without its successors showing it. Pure.

use blake3::Hash;

/// The end of the chain so far. Each life of a gateway begins a chain of its own, with zeros.
#[derive(Debug)]
pub struct Chain {
    last: Hash,
}

impl Default for Chain {
    fn default() -> Self {
        Self { last: Hash::from_bytes([0; blake3::OUT_LEN]) }
    }
}

impl Chain {
    /// Links a JSON object that has members: it gets the member `previous`, the BLAKE3 hash, in hexadecimal digits, of the line
    /// before it without its line end.
    pub fn link(&mut self, mut line: Vec<u8>) -> Vec<u8> {
        // The object's closing brace comes after the new member.
        line.pop();
        line.extend_from_slice(format!(",\"previous\":\"{}\"}}", self.last.to_hex()).as_bytes());
        self.last = blake3::hash(&line);
        line
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Whether each line holds the hash of the one before it.
    fn is_whole(lines: &[Vec<u8>]) -> bool {
        let mut last = Hash::from_bytes([0; blake3::OUT_LEN]);
        lines.iter().all(|line| {
            let json: Value = serde_json::from_slice(line).unwrap();
            let previous = std::mem::replace(&mut last, blake3::hash(line));
            json["previous"] == previous.to_hex().as_str()
        })
    }

    #[test]
    fn a_line_that_is_changed_or_gone_is_missed() {
        let mut chain = Chain::default();
        let lines: Vec<_> =
            (1..=5).map(|seq| chain.link(format!("{{\"seq\":{seq}}}").into_bytes())).collect();
        assert!(is_whole(&lines));
        let mut shorter = lines.clone();
        shorter.remove(2);
        assert!(!is_whole(&shorter));
        let mut changed = lines.clone();
        changed[1] =
            String::from_utf8(changed[1].clone()).unwrap().replace("\"seq\":2", "\"seq\":9").into_bytes();
        assert!(!is_whole(&changed));
        let mut swapped = lines;
        swapped.swap(3, 4);
        assert!(!is_whole(&swapped));
    }
}
