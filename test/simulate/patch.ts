/**
 * What files become by a unified diff: their new texts by path. Each hunk is found by its old lines, wherever in the file they stand
 * now, so that no tool is needed and line numbers do not matter. `read` gives a file's text. Throws where the old lines
 * are not there exactly once.
 */
export function patched(patch: string, read: (file: string) => string): Map<string, string> {
  const out = new Map<string, string>()
  let file = ''
  let hunk: { before: string[]; after: string[] } | null = null
  const flush = () => {
    if (!hunk) return
    const text = out.get(file) ?? read(file)
    const [before, after] = [hunk.before.join('\n'), hunk.after.join('\n')]
    const at = text.indexOf(before)
    if (at < 0 || text.indexOf(before, at + 1) >= 0)
      throw new Error(`a hunk does not fit ${file}:\n${before}`)
    out.set(file, text.slice(0, at) + after + text.slice(at + before.length))
    hunk = null
  }
  for (const line of patch.split('\n')) {
    if (line.startsWith('--- ') || line.startsWith('diff ')) flush()
    else if (line.startsWith('+++ b/')) file = line.slice('+++ b/'.length)
    else if (line.startsWith('@@')) {
      flush()
      hunk = { before: [], after: [] }
    } else if (hunk) {
      const [sign, rest] = [line[0], line.slice(1)]
      if (sign === '-' || sign === ' ') hunk.before.push(rest)
      if (sign === '+' || sign === ' ') hunk.after.push(rest)
    }
  }
  flush()
  return out
}
