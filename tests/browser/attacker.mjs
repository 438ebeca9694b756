import assert from 'node:assert/strict';

const ARRIVAL_MS = 10_000;
/** As what a page may post without asking first (Fetch, CORS-safelisted request-header); '' says nothing. */
export const SIMPLE_TYPES = ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data', ''];
/** How a page has the browser get something without a script reading it. */
export const EMBEDDINGS = ['img', 'script', 'iframe', 'object', 'embed', 'video', 'audio', 'link'];

/** A page of a site that has nothing to do with the server, with what it can do in a script. */
export const ATTACKER = `<!doctype html>
<title>Another site</title>
<script>
/** Posts without reading the answer. */
const post = (url, body, type) => {
  fetch(url, { method: 'POST', mode: 'no-cors', credentials: 'include', body: new Blob([body], { type }) });
};

/** Reads an answer, if the browser lets it. */
const read = (url, options) =>
  fetch(url, options).then((response) => response.text()).then((text) => ({ text }), () => 'kept from it');

/** Submits a form, and with it leaves this page. */
const submit = (url, enctype, name, value) => {
  const form = document.body.appendChild(document.createElement('form'));
  Object.assign(form, { action: url, method: 'post', enctype });
  const input = form.appendChild(document.createElement('input'));
  Object.assign(input, { name, value });
  form.submit();
};

const embed = (element, url) => {
  const embedded = document.createElement(element);
  if (element === 'link') Object.assign(embedded, { rel: 'stylesheet', href: url });
  else embedded[element === 'object' ? 'data' : 'src'] = url;
  document.body.append(embedded);
};

/** What a connection comes to: open, or over. */
const connect = (make, ended) =>
  new Promise((resolve) => {
    const source = make();
    source.onopen = source.onmessage = () => resolve('open');
    source[ended] = () => resolve('over');
  });
</script>
<body></body>`;

/** Waits until what `act` has the browser ask of `url` has come to an end, of whatever kind. */
export async function ended(page, url, act) {
  const isIt = (it) => it.url() === url;
  const ends = ['response', 'requestfailed'].map((end) =>
    page.waitForEvent(end, { predicate: isIt, timeout: ARRIVAL_MS }),
  );
  await act();
  const end = await Promise.any(ends);
  if (end.status) assert.equal(end.status(), 403, url);
}

/** The status that what `act` has the browser ask of `url` is answered with, also where no script sees it. */
export async function answered(page, url, act) {
  const [response] = await Promise.all([
    page.waitForResponse((response) => response.url() === url, { timeout: ARRIVAL_MS }),
    act(),
  ]);
  return response.status();
}
