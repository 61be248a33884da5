/**
 * Key words of PostgreSQL 18 that cannot stand unquoted wherever a name can (its Appendix C: reserved, or "cannot be function or
 * type name", or "can be function or type name"). Quoting is always right, so the list may hold too many.
 */
const KEYWORDS: ReadonlySet<string> = new Set(
  `all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both case cast char character
   check coalesce collate collation column concurrently constraint create cross current_catalog current_date current_role
   current_schema current_time current_timestamp current_user dec decimal default deferrable desc distinct do else end except exists
   extract false fetch float for foreign freeze from full grant greatest group grouping having ilike in initially inner inout int
   integer intersect interval into is isnull join json json_array json_arrayagg json_exists json_object json_objectagg json_query
   json_scalar json_serialize json_table json_value lateral leading least left like limit localtime localtimestamp merge_action
   national natural nchar none normalize not notnull null nullif numeric offset on only or order out outer overlaps overlay placing
   position precision primary real references returning right row select session_user setof similar smallint some substring symmetric
   system_user table tablesample then time timestamp to trailing treat trim true union unique user using values varchar variadic
   verbose when where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot
   xmlserialize xmltable
   day filter hour minute month over partition rows range groups second value within without year zone recursive materialized`.split(
    /\s+/,
  ),
)

/** A name as SQL: quoted unless it is a plain one. */
export const quoteName = (name: string): string =>
  /^[a-z_][a-z0-9_]*$/.test(name) && !KEYWORDS.has(name) ? name : `"${name.replaceAll('"', '""')}"`

/** A string constant as SQL, whatever `standard_conforming_strings` says. */
export const quoteText = (value: string): string =>
  value.includes('\\')
    ? `E'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
    : `'${value.replaceAll("'", "''")}'`

/** The nearest of `candidates` to a misspelt name, or null where none is near. */
export function nearest(name: string, candidates: Iterable<string>): string | null {
  let best: string | null = null
  if (name.length < 3) return null
  let least = Math.floor(name.length / 3) + 1
  for (const candidate of candidates) {
    const distance = edits(name.toLowerCase(), candidate, least)
    if (distance < least) {
      least = distance
      best = candidate
    }
  }
  return best
}

/** Levenshtein distance, or `bound` where it is at least that. */
function edits(a: string, b: string, bound: number): number {
  if (Math.abs(a.length - b.length) >= bound || a.length > 64) return bound
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(change, (row[j] as number) + 1, (next[j - 1] as number) + 1))
    }
    row = next
  }
  return Math.min(bound, row[b.length] as number)
}
