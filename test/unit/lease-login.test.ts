/** What the lease thread logs in with while the worker cannot read its files itself. */
import { expect, test } from 'vitest';
import { currentLogin } from '../../worker/lease/current-login.ts';
import { mountSecret } from '../support/mounted-secret.ts';

const known = { username: 'app', password: 'posted', tls: undefined };
const none = { url: undefined, username: undefined, password: undefined };

test('without files, it is what the worker used last', () => {
  expect(currentLogin(undefined, known)).toBe(known);
});

test('a password in a file is read each time; a file that is empty or missing changes nothing', async () => {
  await using secret = await mountSecret({ password: 'first\n' });
  const login = { ...none, files: { password: secret.path('password') } };
  expect(currentLogin(login, known)).toEqual({ ...known, password: 'first' });
  await secret.replace({ password: 'second\n' });
  expect(currentLogin(login, known)).toEqual({ ...known, password: 'second' });
  await secret.replace({ password: '\n' });
  expect(currentLogin(login, known)).toBe(known);
  await secret.replace({});
  expect(currentLogin(login, known)).toBe(known);
});

test('a URL in a file: its user and password, unless these are given apart or it names another server', async () => {
  const url = 'redis://app:old@redis:6379/3';
  await using secret = await mountSecret({ url: 'redis://app2:new%2F@redis:6379/3' });
  const login = { ...none, url, files: { url: secret.path('url') } };
  expect(currentLogin(login, known)).toMatchObject({ username: 'app2', password: 'new/' });
  expect(currentLogin({ ...login, username: 'own', password: 'apart' }, known)).toMatchObject({
    username: 'own',
    password: 'apart',
  });
  await secret.replace({ url: 'redis://app2:new@other:6379/3' });
  expect(currentLogin(login, known)).toBe(known);
});
