/** The value of `make`, made at the first call; what it throws is thrown again at every call. */
export function once<T>(make: () => T): () => T {
  let outcome: { value: T } | { error: unknown } | undefined
  return () => {
    if (outcome === undefined) {
      try {
        outcome = { value: make() }
      } catch (error) {
        outcome = { error }
      }
    }
    if ('error' in outcome) throw outcome.error
    return outcome.value
  }
}
