const lateCopy =
  'copies that nothing waits for never land on the machine; on a GPU they may land on the results that have taken their place in shared memory'

/** Synchronizations whose absence the machine of fibers cannot show, and why they are there all the same. */
export const equivalent: readonly { file: string; text: string; reason: string }[] = [
  { file: 'ops/attention.cuh', text: 'are still on their way to where sums will lie', reason: lateCopy },
  { file: 'ops/attention.cuh', text: "and other threads' copies too", reason: lateCopy },
  {
    file: 'prim/attention_tile.cuh',
    text: 'all lanes have read what lay here',
    reason: 'ldmatrix is collective, so that on the machine all lanes have read; PTX promises no order between lanes without a barrier',
  },
  {
    file: 'ops/attention_decode.cuh',
    text: 'its lanes are done with the tile before',
    reason:
      'ldmatrix and mma are collective, so that on the machine all lanes have waited and read; PTX promises no order without a barrier',
  },
  {
    file: 'ops/attention_decode.cuh',
    text: 'all lanes have read the last tile',
    reason: 'the same',
  },
  {
    file: 'prim/reduce.cuh',
    text: 'before the next call writes `partial`',
    reason: 'no kernel reduces twice by this function yet; test/native/simt_test.cc does, and notices',
  },
]
