//! Runs a filter's program as the kernel does, on a made-up call.

use trace_run::sys::seccomp::Instruction;

/// `struct seccomp_data`, without the instruction pointer.
pub struct Call {
    pub number: u32,
    pub arch: u32,
    pub arguments: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.arch,
            16..64 => {
                let argument = self.arguments[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) { argument as u32 } else { (argument >> 32) as u32 }
            }
            _ => panic!("a filter reads at {offset}"),
        }
    }
}

/// What the program returns, and how many instructions it took.
pub fn run(program: &[Instruction], call: &Call) -> (u32, usize) {
    let (mut at, mut accumulator, mut steps) = (0, 0, 0);
    loop {
        let Instruction { code, if_true, if_false, constant } = program[at];
        steps += 1;
        at += 1;
        let mut branch = |taken: bool| at += usize::from(if taken { if_true } else { if_false });
        match code {
            0x20 => {
                assert_eq!(constant % 4, 0);
                accumulator = call.word(constant);
            }
            0x54 => accumulator &= constant,
            0x05 => at += constant as usize,
            0x06 => return (constant, steps),
            0x15 => branch(accumulator == constant),
            0x25 => branch(accumulator > constant),
            0x35 => branch(accumulator >= constant),
            _ => panic!("a filter has instruction {code:#x}"),
        }
    }
}
