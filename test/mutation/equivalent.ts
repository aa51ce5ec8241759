/** Synchronizations whose absence the machine of fibers cannot show, and why they are there all the same. */
export const equivalent: readonly { file: string; text: string; reason: string }[] = []
