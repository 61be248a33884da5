import { fieldSet } from './ast.ts'

/** Which expressions a query may hold, and how the parser's names for them are written. */

/** Fields that each kind of node may have, besides none. */
export const FIELDS: Readonly<Record<string, ReadonlySet<string>>> = {
  A_Const: fieldSet('ival fval sval boolval bsval isnull location'),
  ColumnRef: fieldSet('fields location'),
  A_Expr: fieldSet('kind name lexpr rexpr location rexpr_list_start rexpr_list_end'),
  BoolExpr: fieldSet('boolop args location'),
  NullTest: fieldSet('arg nulltesttype argisrow location'),
  BooleanTest: fieldSet('arg booltesttype location'),
  SubLink: fieldSet('subLinkType testexpr operName subselect location'),
  CaseExpr: fieldSet('arg args defresult location'),
  CaseWhen: fieldSet('expr result location'),
  CoalesceExpr: fieldSet('args location'),
  MinMaxExpr: fieldSet('op args location'),
  FuncCall: fieldSet(
    'funcname args agg_order agg_filter over agg_within_group agg_star agg_distinct func_variadic funcformat location',
  ),
  TypeCast: fieldSet('arg typeName location'),
  A_ArrayExpr: fieldSet('elements location list_start list_end'),
  A_Indirection: fieldSet('arg indirection'),
  A_Indices: fieldSet('is_slice lidx uidx'),
  RowExpr: fieldSet('args row_format location'),
  SQLValueFunction: fieldSet('op typmod location'),
  GroupingFunc: fieldSet('args location'),
  CollateClause: fieldSet('arg collname location'),
  NamedArgExpr: fieldSet('name arg argnumber location'),
}
/** What to call other kinds of node in a refusal, and what to use instead. */
export const WORDS: Readonly<Record<string, readonly [name: string, hint: string]>> = {
  ParamRef: ['a parameter', 'write the value itself'],
  XmlExpr: ['XML', 'use text or json functions'],
  XmlSerialize: ['XML', 'use text or json functions'],
  JsonArrayQueryConstructor: ['JSON_ARRAY(SELECT ...)', 'use json_agg'],
  JsonObjectAgg: ['JSON_OBJECTAGG', 'use json_object_agg'],
  JsonArrayAgg: ['JSON_ARRAYAGG', 'use json_agg'],
  JsonParseExpr: ['JSON(...)', 'cast to json instead'],
  JsonScalarExpr: ['JSON_SCALAR', 'use to_json'],
  JsonSerializeExpr: ['JSON_SERIALIZE', 'cast to text instead'],
  MergeSupportFunc: ['MERGE_ACTION', 'a query only reads'],
  SetToDefault: ['DEFAULT', 'write the value itself'],
  CurrentOfExpr: ['CURRENT OF', 'a query only reads'],
}

/** Operators of pg_catalog that a query may use. */
export const OPERATORS: ReadonlySet<string> = new Set(
  `= <> < > <= >= + - * / % ^ || ~ ~* !~ !~* ~~ !~~ ~~* !~~* & | # << >> @ |/ ||/ -> ->> #> #>> @> <@ ? ?| ?& && #- @? @@ ^@ -|- &< &>`.split(
    ' ',
  ),
)
export const NULL_TESTS: Readonly<Record<string, string>> = { IS_NULL: 'IS NULL', IS_NOT_NULL: 'IS NOT NULL' }
export const BOOLEAN_TESTS: Readonly<Record<string, string>> = {
  IS_TRUE: 'IS TRUE',
  IS_NOT_TRUE: 'IS NOT TRUE',
  IS_FALSE: 'IS FALSE',
  IS_NOT_FALSE: 'IS NOT FALSE',
  IS_UNKNOWN: 'IS UNKNOWN',
  IS_NOT_UNKNOWN: 'IS NOT UNKNOWN',
}
export const BETWEENS: Readonly<Record<string, string>> = {
  AEXPR_BETWEEN: 'BETWEEN',
  AEXPR_NOT_BETWEEN: 'NOT BETWEEN',
  AEXPR_BETWEEN_SYM: 'BETWEEN SYMMETRIC',
  AEXPR_NOT_BETWEEN_SYM: 'NOT BETWEEN SYMMETRIC',
}
export const LIKES: Readonly<Record<string, string>> = {
  '~~': 'LIKE',
  '!~~': 'NOT LIKE',
  '~~*': 'ILIKE',
  '!~~*': 'NOT ILIKE',
}
export const CLOCKS: Readonly<Record<string, string>> = {
  SVFOP_CURRENT_DATE: 'CURRENT_DATE',
  SVFOP_CURRENT_TIME: 'CURRENT_TIME',
  SVFOP_CURRENT_TIME_N: 'CURRENT_TIME',
  SVFOP_CURRENT_TIMESTAMP: 'CURRENT_TIMESTAMP',
  SVFOP_CURRENT_TIMESTAMP_N: 'CURRENT_TIMESTAMP',
  SVFOP_LOCALTIME: 'LOCALTIME',
  SVFOP_LOCALTIME_N: 'LOCALTIME',
  SVFOP_LOCALTIMESTAMP: 'LOCALTIMESTAMP',
  SVFOP_LOCALTIMESTAMP_N: 'LOCALTIMESTAMP',
}
export const COLLATIONS: ReadonlySet<string> = new Set(['C', 'POSIX', 'ucs_basic', 'default', 'unicode'])
