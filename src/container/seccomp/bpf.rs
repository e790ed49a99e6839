//! Writes a program of classic BPF from its end to its beginning.
//!
//! Jumps lead forward only, and a conditional one no further than 255 instructions; written backwards, every target is
//! known when a jump to it is. What returns the same value is shared while it is near enough.

use crate::sys::seccomp::Instruction;

/// Where a jump leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To an instruction, counted from the program's end.
    At(usize),
    /// To one that returns this.
    Return(u32),
}

/// Conditional jumps (linux/bpf_common.h): class JMP, comparing the accumulator with a constant.
#[derive(Clone, Copy, Debug)]
pub enum Test {
    Equal,
    Greater,
    GreaterOrEqual,
}

const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;

/// Some instructions may still come between a jump and its target.
const NEAR: usize = 255 - 4;

/// A program that grows at its beginning.
#[derive(Default)]
pub struct Writer {
    reversed: Vec<Instruction>,
    returns: Vec<(u32, usize)>,
}

impl Writer {
    /// Loads the word at `offset` of `struct seccomp_data`, then goes on at `then`.
    pub fn load(&mut self, offset: u32, then: Target) -> Target {
        self.before(then);
        self.push(LOAD_WORD, 0, 0, offset)
    }

    /// Keeps the bits under `mask`, then goes on at `then`.
    pub fn and(&mut self, mask: u32, then: Target) -> Target {
        self.before(then);
        self.push(AND, 0, 0, mask)
    }

    /// Goes on at `yes` if the accumulator passes the test, else at `no`.
    pub fn branch(&mut self, test: Test, constant: u32, yes: Target, no: Target) -> Target {
        if yes == no {
            return yes;
        }
        let (yes, no) = (self.reach(yes), self.reach(no));
        let distance = |to: usize| u8::try_from(self.reversed.len() - to - 1).expect("made reachable above");
        let code = match test {
            Test::Equal => 0x15,
            Test::Greater => 0x25,
            Test::GreaterOrEqual => 0x35,
        };
        let (yes, no) = (distance(yes), distance(no));
        self.push(code, yes, no, constant)
    }

    /// The program, which begins at `first`.
    pub fn finish(mut self, first: Target) -> Vec<Instruction> {
        self.before(first);
        self.reversed.reverse();
        self.reversed
    }

    fn push(&mut self, code: u16, if_true: u8, if_false: u8, constant: u32) -> Target {
        self.reversed.push(Instruction { code, if_true, if_false, constant });
        Target::At(self.reversed.len() - 1)
    }

    /// Makes `then` the instruction that follows the next one to be written.
    fn before(&mut self, then: Target) {
        match then {
            Target::At(at) if at + 1 == self.reversed.len() => {}
            Target::At(at) => {
                let over = (self.reversed.len() - at - 1) as u32;
                self.push(JUMP, 0, 0, over);
            }
            Target::Return(value) => {
                self.write_return(value);
            }
        }
    }

    /// Where a conditional jump that is about to be written can go to get to `target`.
    fn reach(&mut self, target: Target) -> usize {
        match target {
            Target::At(at) if self.reversed.len() - at <= NEAR => at,
            Target::At(at) => {
                let over = (self.reversed.len() - at - 1) as u32;
                self.push(JUMP, 0, 0, over);
                self.reversed.len() - 1
            }
            Target::Return(value) => match self.returns.iter().find(|(of, _)| *of == value) {
                Some((_, at)) if self.reversed.len() - at <= NEAR => *at,
                _ => self.write_return(value),
            },
        }
    }

    fn write_return(&mut self, value: u32) -> usize {
        self.push(RETURN, 0, 0, value);
        let at = self.reversed.len() - 1;
        self.returns.retain(|(of, _)| *of != value);
        self.returns.push((value, at));
        at
    }
}
