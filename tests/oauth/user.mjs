import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { UnauthorizedError, auth } from '@modelcontextprotocol/sdk/client/auth.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const REDIRECT_URL = 'http://127.0.0.1:1/callback';
const MOST_REDIRECTS = 20;

/**
 * Somebody with an MCP client that authorizes itself (OAuthClientProvider of the
 * SDK). His browser goes wherever the client sends it, and shows nothing.
 */
export class User {
  redirectUrl = REDIRECT_URL;
  /** Each request that the client made, such as "GET /.well-known/… 200". */
  requests = [];
  /** Where the client sent the browser. */
  authorizations = [];
  #server;
  #audience;
  #grantTypes;
  #kept = {};
  #code;

  /** `audience` is what the client has its tokens issued for, if that is not the server. */
  constructor(server, { audience, canRefresh = false } = {}) {
    this.#server = new URL('/mcp', server.origin);
    this.#audience = audience;
    this.#grantTypes = ['authorization_code', ...(canRefresh ? ['refresh_token'] : [])];
    if (!audience) this.validateResourceURL = undefined;
  }

  /** Connects, after authorizing if that is asked for. */
  async connect() {
    return this.authorized(async () => {
      const client = new Client({ name: 'oauth-test', version: '1' });
      this.transport = new StreamableHTTPClientTransport(this.#server, { authProvider: this, fetch: this.fetch });
      await client.connect(this.transport);
      return client;
    });
  }

  /** Does something; if that takes the user's consent, asks for it and does it again. */
  async authorized(act) {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof UnauthorizedError)) throw error;
      await this.transport.finishAuth(this.#code);
      return act();
    }
  }

  /** Gets a token without using it. */
  async authorize() {
    const options = { serverUrl: this.#server, fetchFn: this.fetch };
    await auth(this, options);
    await auth(this, { ...options, authorizationCode: this.#code });
    return this.#kept.tokens.access_token;
  }

  fetch = async (url, init) => {
    const response = await fetch(url, init);
    this.requests.push(`${init?.method ?? 'GET'} ${new URL(url).pathname} ${response.status}`);
    return response;
  };

  get clientMetadata() {
    return {
      client_name: 'A client',
      redirect_uris: [REDIRECT_URL],
      grant_types: this.#grantTypes,
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    };
  }

  clientInformation() {
    return this.#kept.client;
  }

  saveClientInformation(client) {
    this.#kept.client = client;
  }

  tokens() {
    return this.#kept.tokens;
  }

  saveTokens(tokens) {
    this.#kept.tokens = tokens;
  }

  codeVerifier() {
    return this.#kept.verifier;
  }

  saveCodeVerifier(verifier) {
    this.#kept.verifier = verifier;
  }

  /** What a careless client does: asks for a token for somebody else. */
  validateResourceURL() {
    return new URL(this.#audience);
  }

  async redirectToAuthorization(url) {
    this.authorizations.push(url);
    const back = await browse(url);
    this.#code = back.searchParams.get('code');
    if (!this.#code) throw new Error(`the authorization server refused: ${back.searchParams}`);
  }
}

/** Follows redirects, with the cookies of each, until they lead back to the client. */
async function browse(url) {
  const cookies = new Map();
  for (let n = 0; n < MOST_REDIRECTS; n++) {
    const cookie = [...cookies].map((pair) => pair.join('=')).join('; ');
    const response = await fetch(url, { redirect: 'manual', headers: { cookie } });
    for (const set of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(set);
      cookies.set(name, value);
    }
    const location = response.headers.get('location');
    if (!location) throw new Error(`${url} answered ${response.status}: ${await response.text()}`);
    url = new URL(location, url);
    if (url.href.startsWith(REDIRECT_URL)) return url;
  }
  throw new Error(`more than ${MOST_REDIRECTS} redirects, the last to ${url}`);
}
