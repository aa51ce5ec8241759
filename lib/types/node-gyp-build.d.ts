declare module 'node-gyp-build' {
  /** Loads `build/Release/*.node`, or the best match in `prebuilds/`, of the package in `directory`. */
  export default function load(directory: string): unknown
}
