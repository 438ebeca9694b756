import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';

import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';

/** What clients may ask for, and register for; other scopes are refused. */
const SCOPES = ['subscribe:**', 'publish:**', 'tasks:**', 'acknowledge', 'connections:read'];

/**
 * A real authorization server on a loopback port. Whoever asks is `alice`, who has
 * signed in and allows what `allows` says. Clients register themselves.
 */
export class AuthorizationServer {
  /** Which scopes the user allows. */
  allows = () => true;
  /** What access tokens are signed by. */
  algorithm = 'RS256';
  /** How long access tokens live, in seconds. */
  lifeSeconds = 3_600;
  #server;
  #port;
  #handle;
  #cookieKeys = [randomBytes(32).toString('hex')];

  /** Starts one, which is gone when the test `t` ends. */
  static async start(t) {
    const it = new AuthorizationServer();
    await it.appear(0);
    it.#port = it.#server.address().port;
    await it.rotate();
    t.after(() => it.vanish());
    return it;
  }

  get issuer() {
    return `http://127.0.0.1:${this.#port}`;
  }

  get jwksUrl() {
    return `${this.issuer}/jwks`;
  }

  /** Signs with other keys from now on, and publishes those alone. Clients and grants stay. */
  async rotate() {
    const keys = await Promise.all(['RS256', 'ES256'].map(newKey));
    const provider = new Provider(this.issuer, this.#configuration(keys));
    const handle = provider.callback();
    this.#handle = (request, response) =>
      request.url.startsWith('/interaction/') ? this.#interact(provider, request, response) : handle(request, response);
  }

  /** Is reached again, where it was. */
  async appear(port = this.#port) {
    this.#server = http.createServer((request, response) => this.#handle(request, response));
    this.#server.listen(port, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  /** Is no longer reached. */
  async vanish() {
    if (!this.#server.listening) return;
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  #configuration(keys) {
    return {
      jwks: { keys },
      scopes: SCOPES,
      cookies: { keys: this.#cookieKeys },
      findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
      interactions: { url: (_, { uid }) => `/interaction/${uid}` },
      ttl: { Interaction: 600, Session: 600, Grant: 600, RefreshToken: 600, AccessToken: () => this.lifeSeconds },
      issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'),
      features: {
        devInteractions: { enabled: false },
        registration: { enabled: true },
        resourceIndicators: {
          enabled: true,
          // RFC 8707: the token is for the resource that was asked for, and for no other.
          getResourceServerInfo: (_, resource) => ({
            audience: resource,
            scope: SCOPES.join(' '),
            accessTokenFormat: 'jwt',
            jwt: { sign: { alg: this.algorithm } },
          }),
          useGrantedResource: () => true,
        },
      },
    };
  }

  /** What a user does on the pages that he is shown: signs in, and decides what the client may. */
  async #interact(provider, request, response) {
    const { prompt, params, session } = await provider.interactionDetails(request, response);
    if (prompt.name === 'login') {
      return provider.interactionFinished(request, response, { login: { accountId: 'alice' } });
    }
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    for (const [resource, scopes] of Object.entries(prompt.details.missingResourceScopes ?? {})) {
      grant.addResourceScope(resource, scopes.filter(this.allows).join(' '));
      grant.rejectResourceScope(resource, scopes.filter((scope) => !this.allows(scope)).join(' '));
    }
    grant.rejectOIDCScope((prompt.details.missingOIDCScope ?? []).join(' '));
    await provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
  }
}

async function newKey(alg) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: `${alg}-${randomBytes(6).toString('hex')}` };
}
