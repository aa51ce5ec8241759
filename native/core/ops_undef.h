// Ends one expansion of ops.def; included several times by ops.h, hence no guard.
#undef IN
#undef IN_OPT
#undef OUT
#undef OUT_OPT
#undef ACC
#undef ACC_OPT
#undef IN_LIST
#undef ACC_LIST
#undef I32
#undef F32
#undef U64
#undef COUNTER
#undef OP
