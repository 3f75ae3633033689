//! Which instructions this machine has, and functions compiled once for each answer.

use std::sync::OnceLock;

/// The instruction set that the kernels use, chosen once from what the processor has.
///
/// Part of what makes two runs comparable bit for bit: results of different sets may differ in the last bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstructionSet {
    /// AVX-512 and the matrix unit of Intel's servers (AMX with bf16).
    Amx,
    /// AVX-512 with products of bf16 pairs at twice the speed of f32, as AMD has them since Zen 4.
    Avx512Bf16,
    /// x86-64 with AVX-512 F, BW, DQ and VL.
    Avx512,
    /// x86-64 with AVX2 and fused multiply-add.
    Avx2,
    /// What every processor of the target has: SSE2 on x86-64, NEON on AArch64.
    Portable,
}

impl InstructionSet {
    /// A stable name, for fingerprints and status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amx => "x86-64-amx",
            Self::Avx512Bf16 => "x86-64-avx512-bf16",
            Self::Avx512 => "x86-64-avx512",
            Self::Avx2 => "x86-64-avx2",
            Self::Portable if cfg!(target_arch = "aarch64") => "aarch64-neon",
            Self::Portable if cfg!(target_arch = "x86_64") => "x86-64",
            Self::Portable => "portable",
        }
    }

    /// Whether products of bf16 numbers are faster than products of f32.
    pub fn is_faster_in_bf16(self) -> bool {
        matches!(self, Self::Amx | Self::Avx512Bf16)
    }

    /// The sets that this machine can run, best first.
    #[cfg(test)]
    pub(super) fn available() -> Vec<Self> {
        let all = [
            Self::Amx,
            Self::Avx512Bf16,
            Self::Avx512,
            Self::Avx2,
            Self::Portable,
        ];
        all.into_iter().filter(|set| set.is_there()).collect()
    }

    /// Whether the processor and the system have what the set needs.
    fn is_there(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let avx512 = || {
                has!("avx512f")
                    && has!("avx512bw")
                    && has!("avx512dq")
                    && has!("avx512vl")
                    && has!("fma")
            };
            match self {
                Self::Amx => {
                    avx512()
                        && has!("avx512bf16")
                        && super::amx::is_there()
                        && super::amx::request()
                }
                Self::Avx512Bf16 => avx512() && has!("avx512bf16"),
                Self::Avx512 => avx512(),
                Self::Avx2 => has!("avx2") && has!("fma"),
                Self::Portable => true,
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Self::Portable
        }
    }
}

/// The best instruction set of this machine.
#[inline]
pub fn instruction_set() -> InstructionSet {
    static BEST: OnceLock<InstructionSet> = OnceLock::new();
    *BEST.get_or_init(|| {
        let in_order = [
            InstructionSet::Amx,
            InstructionSet::Avx512Bf16,
            InstructionSet::Avx512,
            InstructionSet::Avx2,
        ];
        in_order
            .into_iter()
            .filter(|set| *set != InstructionSet::Avx512Bf16 || bf16_pairs_are_fast())
            .find(|set| set.is_there())
            .unwrap_or(InstructionSet::Portable)
    })
}

/// Whether the vector units multiply bf16 pairs faster than f32. Measured: Zen 5 twice as fast; the Intel server with
/// AMX half as fast, since there the matrix unit is meant for it. Intel's others are taken to be like that one.
fn bf16_pairs_are_fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let vendor = std::arch::x86_64::__cpuid(0);
        let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
        name.as_flattened() == b"AuthenticAMD"
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Defines a function whose body is compiled for every instruction set and picked at run time.
///
/// The body is plain Rust without fused multiply-adds, so the sets give the same bits.
macro_rules! for_each_instruction_set {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$T:ident: $bound:path>)? ($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name $(<$T: $bound>)? ($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body $(<$T: $bound>)? ($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                use $crate::kernels::cpu::simd::InstructionSet::{Amx, Avx2, Avx512, Avx512Bf16, Portable};
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
                fn avx512 $(<$T: $bound>)? ($($arg: $ty),*) $(-> $ret)? { body $(::<$T>)? ($($arg),*) }
                #[target_feature(enable = "avx2")]
                fn avx2 $(<$T: $bound>)? ($($arg: $ty),*) $(-> $ret)? { body $(::<$T>)? ($($arg),*) }
                match $crate::kernels::cpu::simd::instruction_set() {
                    // SAFETY: the processor has these features, or `instruction_set` would not say so.
                    Amx | Avx512Bf16 | Avx512 => return unsafe { avx512 $(::<$T>)? ($($arg),*) },
                    // SAFETY: as above.
                    Avx2 => return unsafe { avx2 $(::<$T>)? ($($arg),*) },
                    Portable => {}
                }
            }
            body $(::<$T>)? ($($arg),*)
        }
    };
}
pub(super) use for_each_instruction_set;
