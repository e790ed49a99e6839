//! `--detach-keys`: keys that are not the program's but ours.

/// A sequence of keys, and how much of it was typed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachKeys {
    keys: Vec<u8>,
    typed: usize,
}

impl Default for DetachKeys {
    /// Docker's, ctrl-p ctrl-q.
    fn default() -> Self {
        DetachKeys { keys: vec![16, 17], typed: 0 }
    }
}

impl DetachKeys {
    /// Keys as docker spells them, separated by commas: a character, or `ctrl-` and one of `a` to `z`, `@`, `[`, `\`,
    /// `]`, `^` and `_`. None are the default ones.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let key = |name: &str| match (name.strip_prefix("ctrl-").unwrap_or_default().as_bytes(), name.as_bytes()) {
            ([letter @ b'a'..=b'z'], _) => Ok(letter - b'a' + 1),
            ([b'@'], _) => Ok(0),
            ([sign @ b'['..=b'_'], _) => Ok(sign - b'[' + 27),
            (_, [one]) if one.is_ascii() => Ok(*one),
            _ => Err(format!(
                "`{name}` is no key: expected a character, or `ctrl-` and one of `a` to `z`, `@`, `[`, `\\`, `]`, `^`, `_`"
            )),
        };
        let keys = text.split(',').map(key).collect::<Result<_, _>>()?;
        Ok(DetachKeys { keys, typed: 0 })
    }

    /// Takes the keys out of what was typed: what is the program's, and whether all of the keys were typed; then what
    /// was typed after them is nobody's. The begin of the keys is kept back until it is known what follows.
    pub fn filter(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut theirs = Vec::with_capacity(typed.len() + self.typed);
        for byte in typed {
            if *byte != self.keys[self.typed] {
                theirs.extend(&self.keys[..self.typed]);
                self.typed = 0;
            }
            if *byte != self.keys[self.typed] {
                theirs.push(*byte);
                continue;
            }
            self.typed += 1;
            if self.typed == self.keys.len() {
                self.typed = 0;
                return (theirs, true);
            }
        }
        (theirs, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spelled_as_docker_does() {
        let keys = |text| DetachKeys::parse(text).map(|k| k.keys);
        assert_eq!(keys(""), Ok(vec![16, 17]));
        assert_eq!(keys("ctrl-p,ctrl-q"), Ok(vec![16, 17]));
        assert_eq!(keys("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_,a,Z"), Ok(vec![0, 27, 28, 29, 30, 31, b'a', b'Z']));
        for wrong in ["ctrl-", "ctrl-A", "ctrl-1", "foo", "a,,b", "é", "ctrl-aa"] {
            assert!(keys(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_begin_of_the_keys_is_the_programs_unless_the_rest_follows() {
        let mut keys = DetachKeys::default();
        assert_eq!(keys.filter(b"a\x10"), (b"a".to_vec(), false));
        assert_eq!(keys.filter(b"b"), (b"\x10b".to_vec(), false));
        assert_eq!(keys.filter(b"x\x10\x10"), (b"x\x10".to_vec(), false));
        assert_eq!(keys.filter(b"\x11lost"), (Vec::new(), true));
        assert_eq!(keys.filter(b"\x11"), (b"\x11".to_vec(), false));
    }
}
