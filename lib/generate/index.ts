/** `tilewise/generate`: sequences out of models. */
export { type GreedyOptions, greedy } from './greedy.ts'
