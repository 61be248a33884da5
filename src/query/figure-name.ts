import { list, names, open, type Tree, text } from './ast.ts'

/** The name that PostgreSQL gives a column without AS (parse_target.c, FigureColname). */
export function figureName(node: unknown): string {
  return figure(node)?.name ?? '?column?'
}

function figure(node: unknown): { name: string; strong: boolean } | null {
  const [type, fields] = open(node)
  const strong = (name: string | undefined) => (name ? { name, strong: true } : null)
  switch (type) {
    case 'ColumnRef':
      return strong(names(fields['fields']).at(-1))
    case 'A_Indirection': {
      const field = names(list(fields['indirection']).filter((step) => open(step)[0] === 'String')).at(-1)
      return strong(field) ?? figure(fields['arg'])
    }
    case 'FuncCall':
      return strong(names(fields['funcname']).at(-1))
    case 'TypeCast': {
      const inner = figure(fields['arg'])
      if (inner?.strong) return inner
      const name = names((fields['typeName'] as Tree)['names']).at(-1)
      return name ? { name, strong: false } : inner
    }
    case 'CollateClause':
      return figure(fields['arg'])
    case 'CaseExpr': {
      const inner = figure(fields['defresult'])
      return inner?.strong ? inner : { name: 'case', strong: false }
    }
    case 'CoalesceExpr':
      return strong('coalesce')
    case 'MinMaxExpr':
      return strong(fields['op'] === 'IS_LEAST' ? 'least' : 'greatest')
    case 'A_ArrayExpr':
      return strong('array')
    case 'RowExpr':
      return strong('row')
    case 'GroupingFunc':
      return strong('grouping')
    case 'A_Expr':
      return fields['kind'] === 'AEXPR_NULLIF' ? strong('nullif') : null
    case 'SQLValueFunction':
      return strong(
        text(fields['op'])
          .replace(/^SVFOP_|_N$/g, '')
          .toLowerCase(),
      )
    case 'JsonFuncExpr':
      return strong(text(fields['op']).replace(/_OP$/, '').toLowerCase())
    case 'JsonObjectConstructor':
      return strong('json_object')
    case 'JsonArrayConstructor':
      return strong('json_array')
    case 'SubLink':
      switch (fields['subLinkType']) {
        case 'EXISTS_SUBLINK':
          return strong('exists')
        case 'ARRAY_SUBLINK':
          return strong('array')
        case 'EXPR_SUBLINK': {
          const [first] = list(open(fields['subselect'])[1]['targetList'])
          const target = open(first)[1]
          return strong(text(target['name'])) ?? figure(target['val'])
        }
      }
  }
  return null
}
