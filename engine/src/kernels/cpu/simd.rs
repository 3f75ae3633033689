//! Which instructions this machine has, and functions compiled once for each answer.

/// The instruction set that the kernels use, chosen once from what the processor has.
///
/// Part of what makes two runs comparable bit for bit: results of different sets may differ in the last bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstructionSet {
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
            Self::Avx512 => "x86-64-avx512",
            Self::Avx2 => "x86-64-avx2",
            Self::Portable if cfg!(target_arch = "aarch64") => "aarch64-neon",
            Self::Portable if cfg!(target_arch = "x86_64") => "x86-64",
            Self::Portable => "portable",
        }
    }
}

/// The best instruction set of this machine. The answer is cached by the standard library and costs a load.
#[inline]
pub fn instruction_set() -> InstructionSet {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        if has!("avx512f")
            && has!("avx512bw")
            && has!("avx512dq")
            && has!("avx512vl")
            && has!("fma")
        {
            return InstructionSet::Avx512;
        }
        if has!("avx2") && has!("fma") {
            return InstructionSet::Avx2;
        }
    }
    InstructionSet::Portable
}

/// Defines a function whose body is compiled for every instruction set and picked at run time.
///
/// The body is plain Rust without fused multiply-adds, so the sets give the same bits.
macro_rules! for_each_instruction_set {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
                fn avx512($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
                match $crate::kernels::cpu::simd::instruction_set() {
                    // SAFETY: the processor has these features, or `instruction_set` would not say so.
                    $crate::kernels::cpu::simd::InstructionSet::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::kernels::cpu::simd::InstructionSet::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::kernels::cpu::simd::InstructionSet::Portable => {}
                }
            }
            body($($arg),*)
        }
    };
}
pub(super) use for_each_instruction_set;
