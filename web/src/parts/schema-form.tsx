import { useId, useState } from 'react';

/** The parts of JSON Schema that a form can be made of. */
export interface Schema {
  type?: string | string[]; title?: string; description?: string; enum?: unknown[]; default?: unknown;
  properties?: Record<string, Schema>; required?: string[]; items?: Schema;
  minimum?: number; maximum?: number; minLength?: number; maxLength?: number; pattern?: string; format?: string;
}

/** What a form starts with: what the schema gives, and nothing else. */
export function initial(schema: Schema): unknown {
  if (schema.default !== undefined) return schema.default;
  if (kindOf(schema) !== 'object' || !schema.properties) return undefined;
  const values = Object.entries(schema.properties).map(([name, property]) => [name, initial(property)]);
  return Object.fromEntries(values.filter(([, value]) => value !== undefined));
}

interface Part { schema: Schema; name: string; isRequired: boolean; value: unknown; onChange: (value: unknown) => void }

/** Fields for what a schema describes; for what a form cannot be made of, JSON. */
export function SchemaForm({ schema, value, onChange }: { schema: Schema; value: unknown; onChange: (value: unknown) => void }) {
  if (kindOf(schema) !== 'object' || !schema.properties) {
    return <JsonField schema={schema} name="data" isRequired={false} value={value} onChange={onChange} />;
  }
  return <Fields schema={schema} value={value} onChange={onChange} />;
}

function Fields({ schema, value, onChange }: { schema: Schema; value: unknown; onChange: (value: unknown) => void }) {
  const object = (value ?? {}) as Record<string, unknown>;
  const put = (name: string, part: unknown) => {
    const { [name]: _, ...rest } = object;
    onChange(part === undefined ? rest : { ...object, [name]: part });
  };
  return Object.entries(schema.properties ?? {}).map(([name, property]) => (
    <Field key={name} schema={property} name={name} isRequired={!!schema.required?.includes(name)} value={object[name]} onChange={(part) => put(name, part)} />
  ));
}

function Field(part: Part) {
  const { schema, name, isRequired, value, onChange } = part;
  const label = <>{schema.title ?? name}{isRequired && <span aria-hidden="true"> *</span>}</>;
  const hint = schema.description && <span className="hint">{schema.description}</span>;
  switch (schema.enum ? 'enum' : kindOf(schema)) {
    case 'enum':
      return <label>{label} <select required={isRequired} value={value === undefined ? '' : JSON.stringify(value)} onChange={(e) => onChange(e.target.value === '' ? undefined : JSON.parse(e.target.value))}>
        <option value="">–</option>
        {schema.enum!.map((it) => <option key={JSON.stringify(it)} value={JSON.stringify(it)}>{String(it)}</option>)}
      </select>{hint}</label>;
    case 'boolean':
      return <label className="check"><input type="checkbox" checked={value === true} onChange={(e) => onChange(e.target.checked)} /> {label}{hint}</label>;
    case 'integer': case 'number':
      return <label>{label} <input type="number" required={isRequired} min={schema.minimum} max={schema.maximum} step={kindOf(schema) === 'integer' ? 1 : 'any'}
        value={typeof value === 'number' ? value : ''} onChange={(e) => onChange(e.target.value === '' ? undefined : Number(e.target.value))} />{hint}</label>;
    case 'string':
      return <label>{label} <input required={isRequired} minLength={schema.minLength} maxLength={schema.maxLength} pattern={schema.pattern}
        value={typeof value === 'string' ? value : ''} onChange={(e) => onChange(e.target.value === '' && !isRequired ? undefined : e.target.value)} />{hint}</label>;
    case 'object':
      if (schema.properties) {
        return <fieldset><legend>{label}</legend>{hint}<Fields schema={schema} value={value} onChange={onChange} /></fieldset>;
      }
  }
  return <JsonField {...part} />;
}

/** Any JSON; what is none is said, and not used. */
function JsonField({ schema, name, isRequired, value, onChange }: Part) {
  const [text, setText] = useState(value === undefined ? '' : JSON.stringify(value, null, 2));
  const [problem, setProblem] = useState('');
  const id = useId();
  const change = (text: string) => {
    setText(text);
    try {
      onChange(text.trim() === '' ? undefined : JSON.parse(text));
      setProblem('');
    } catch (error) {
      setProblem(error instanceof Error ? error.message : 'no JSON');
    }
  };
  return <label>{schema.title ?? name}, as JSON <textarea rows={4} required={isRequired} value={text} onChange={(e) => change(e.target.value)}
    aria-invalid={problem !== ''} aria-describedby={problem ? id : undefined} spellCheck={false} />
    {problem && <span id={id} role="alert">{problem}</span>}</label>;
}

const kindOf = (schema: Schema): string | undefined => (Array.isArray(schema.type) ? schema.type.find((it) => it !== 'null') : schema.type);
