//! The memory of this program: large blocks are kept from one evaluation to the next.

use imgd_engine::kernels::cpu::PoolingAllocator;

#[global_allocator]
static ALLOCATOR: PoolingAllocator = PoolingAllocator;
