/** `tilewise/models`: models with their configuration, vocabularies and files. */
export { checkConfig, defaultConfig, presets, type TranslatorConfig } from './config.ts'
export { type EvaluateOptions, type Evaluation, evaluateTranslator } from './evaluate.ts'
export { type TokenizerKind, type TranslatorTokenizerOptions, trainTokenizers } from './tokenizers.ts'
export { type TrainReporter, type TrainStart, type TrainTranslatorOptions, trainTranslator } from './trainTranslator.ts'
export { type SaveOptions, type TranslateOptions, Translator } from './translator.ts'
