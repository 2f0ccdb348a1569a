// The reference: made of the document that the server serves, and of nothing else.

const METHODS = ['get', 'head', 'post', 'put', 'patch', 'delete']
/** How deep schemas are followed into each other. */
const DEPTH = 4

/** An element with attributes and children; texts are texts. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  made.append(...children.filter((child) => child !== undefined && child !== null))
  return made
}

/** A text with its `code` marked. */
function words(text = '') {
  return text.split('`').map((part, place) => (place % 2 ? element('code', {}, part) : part))
}

/** What a reference refers to. */
function resolved(api, thing) {
  if (!thing?.$ref) return thing ?? {}
  return thing.$ref.slice(2).split('/').reduce((at, part) => at?.[part], api) ?? {}
}

/** A schema in a word or two. */
function kind(api, schema) {
  if (schema?.$ref) return schema.$ref.split('/').pop()
  if (schema?.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ')
  const several = schema?.oneOf ?? schema?.anyOf
  if (several) return several.map((one) => kind(api, one)).join(' | ')
  const type = [schema?.type ?? 'any'].flat().join(' | ')
  return type === 'array' ? `list of ${kind(api, schema.items)}` : type
}

/** The bounds of a schema, in words. */
function bounds(schema) {
  const said = { minimum: 'at least', maximum: 'at most', minLength: 'characters from', maxLength: 'characters to', minItems: 'items from', maxItems: 'items to', pattern: 'matches', format: 'format', default: 'default' }
  return Object.entries(said).filter(([key]) => schema?.[key] !== undefined).map(([key, text]) => `${text} ${JSON.stringify(schema[key])}`).join(', ')
}

/** The fields of a schema, those of its parts included. */
function fields(api, schema) {
  const whole = resolved(api, schema)
  const parts = (whole.allOf ?? []).map((part) => fields(api, part))
  return Object.assign({}, ...parts.map((part) => part), ...[Object.fromEntries(Object.entries(whole.properties ?? {}).map(([name, field]) => [name, { field, required: whole.required?.includes(name) }]))])
}

/** A table of the fields of a schema. */
function table(api, schema) {
  const rows = Object.entries(fields(api, schema)).map(([name, { field, required }]) =>
    element('tr', {}, element('th', { scope: 'row' }, element('code', {}, name), required ? ' *' : ''), element('td', {}, element('code', {}, kind(api, field))), element('td', {}, ...words(field.description ?? resolved(api, field).description), bounds(field) ? element('div', { class: 'words' }, bounds(field)) : null)))
  return rows.length ? element('table', {}, ...rows) : element('p', {}, element('code', {}, kind(api, schema)))
}

/** An example of a schema. */
function example(api, schema, depth = DEPTH) {
  const whole = resolved(api, schema)
  if (schema?.example !== undefined || whole.example !== undefined) return schema.example ?? whole.example
  if (whole.examples?.length) return whole.examples[0]
  if (whole.enum) return whole.enum[0]
  const one = (whole.oneOf ?? whole.anyOf)?.find((part) => part.type !== 'null')
  if (one) return example(api, one, depth - 1)
  const type = [whole.type ?? (whole.allOf ? 'object' : 'any')].flat().find((name) => name !== 'null')
  if (depth === 0) return null
  switch (type) {
    case 'object': return Object.fromEntries(Object.entries(fields(api, whole)).map(([name, { field }]) => [name, example(api, field, depth - 1)]))
    case 'array': return [example(api, whole.items ?? {}, depth - 1)]
    case 'integer': case 'number': return whole.minimum ?? 1
    case 'boolean': return true
    case 'string': return whole.format === 'uuid' ? '019bd3d5-7b1c-7cc0-8d2f-3f1e6a0c9a11' : 'text'
    default: return null
  }
}

function body(api, title, content) {
  const [media, { schema } = {}] = Object.entries(content ?? {})[0] ?? []
  if (!media) return []
  const shown = media.includes('json') ? [element('pre', {}, JSON.stringify(example(api, schema), null, 2))] : []
  return [element('h3', {}, title, ' ', element('code', {}, Object.keys(content).join(', '))), table(api, schema ?? {}), ...shown]
}

function answers(api, responses) {
  const rows = Object.entries(responses).map(([status, answer]) => {
    const whole = resolved(api, answer)
    const headers = Object.keys(whole.headers ?? {}).join(', ')
    return element('tr', {}, element('th', { scope: 'row' }, status), element('td', {}, ...words(whole.description), headers ? element('div', {}, 'Headers: ', element('code', {}, headers)) : null))
  })
  return [element('h3', {}, 'Answers'), element('table', {}, ...rows)]
}

function operation(api, path, method, about) {
  const parameters = (about.parameters ?? []).map((one) =>
    element('tr', {}, element('th', { scope: 'row' }, element('code', {}, one.name), one.required ? ' *' : ''), element('td', {}, one.in), element('td', {}, element('code', {}, kind(api, one.schema))), element('td', {}, ...words(one.description), bounds(one.schema) ? element('div', {}, bounds(one.schema)) : null)))
  const success = Object.entries(about.responses).find(([status, answer]) => status.startsWith('2') && answer.content)
  const inside = element('div', {}, element('p', {}, ...words(about.description)), about.security?.length === 0 ? element('p', {}, 'Takes no credentials.') : null)
  if (parameters.length) inside.append(element('h3', {}, 'Parameters'), element('table', {}, ...parameters))
  inside.append(...body(api, 'Body', about.requestBody?.content), ...(success ? body(api, `Answer ${success[0]}`, success[1].content) : []), ...answers(api, about.responses))
  const summary = element('summary', {}, element('code', { class: 'method' }, method.toUpperCase()), element('code', { class: 'path' }, path), element('span', { class: 'words' }, about.summary ?? ''))
  return element('details', { id: about.operationId, 'data-words': `${method} ${path} ${about.operationId} ${about.summary} ${about.description ?? ''}`.toLowerCase() }, summary, inside)
}

function find(text) {
  const wanted = text.trim().toLowerCase().split(/\s+/).filter(Boolean)
  for (const section of document.querySelectorAll('main section')) {
    const all = [...section.querySelectorAll('details')]
    for (const one of all) one.hidden = !wanted.every((word) => one.dataset.words.includes(word))
    section.hidden = all.every((one) => one.hidden)
  }
}

async function main() {
  const api = await (await fetch('/openapi.json')).json()
  document.querySelector('#version').textContent = api.info.version
  const operations = document.querySelector('#operations')
  operations.replaceChildren(...api.info.description.split('\n\n').map((part) => element('p', {}, ...words(part.replaceAll('**', '').replaceAll('\n', ' ')))))
  for (const tag of api.tags) {
    const section = element('section', { id: `tag-${tag.name}` }, element('h2', {}, tag.name), element('p', {}, tag.description ?? ''))
    for (const [path, item] of Object.entries(api.paths)) {
      for (const method of METHODS.filter((name) => item[name]?.tags?.includes(tag.name))) section.append(operation(api, path, method, item[method]))
    }
    operations.append(section)
  }
  document.querySelector('#contents').append(element('ul', {}, ...api.tags.map((tag) => element('li', {}, element('a', { href: `#tag-${tag.name}` }, tag.name)))))
  document.querySelector('#find').addEventListener('input', (event) => find(event.target.value))
  const open = () => document.getElementById(location.hash.slice(1))?.setAttribute('open', '')
  window.addEventListener('hashchange', open)
  open()
}

main().catch((error) => {
  document.querySelector('#operations').replaceChildren(element('p', { role: 'alert' }, `The document could not be read: ${error.message}`))
})
