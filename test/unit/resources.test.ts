import { expect, test } from 'vitest';
import { collectionPath, objectPath, SECRETS } from '../../kube/resources.ts';

test('an object has one path, for any name', () => {
  const path = '/api/v1/namespaces/shop/secrets/redis';
  expect(objectPath(SECRETS, { namespace: 'shop', name: 'redis' })).toBe(path);
  expect(objectPath(SECRETS, { namespace: 'shop', name: 'a?c' })).toBe(
    '/api/v1/namespaces/shop/secrets/a%3Fc',
  );
});

// the API server refuses these as segments of a path, too
test.each(['', '.', '..', '../kube-system', 'a/b', 'a%2fb', String.raw`a\b`])('"%s" is no name', (name) => {
  expect(() => objectPath(SECRETS, { namespace: 'shop', name })).toThrow(
    `"${name}" is not a valid object name`,
  );
  expect(() => collectionPath(SECRETS, name)).toThrow(`"${name}" is not a valid object name`);
});
