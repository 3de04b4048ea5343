/** Pickles as Python 3.11 makes them of one value, in each protocol that Celery may be set to, and what is no plain data. */
import { expect, test } from 'vitest';
import { readPickle } from '../../queue/sources/pickle.ts';

const plain = {
  'celery@pod-1': [
    {
      id: 'a',
      args: "('ü',)",
      n: [-1, 300, 70_000, 2 ** 40, -(2 ** 40), 1.5, true, false, null],
      t: [1],
      tt: [1, 2, 3, 4],
      delivery_info: { exchange: '', routing_key: 'mail' },
    },
  ],
};

const read = (base64: string): unknown => readPickle(Buffer.from(base64, 'base64'));

const whole =
  'gASVtAAAAAAAAAB9lIwMY2VsZXJ5QHBvZC0xlF2UfZQojAJpZJSMAWGUjARhcmdzlIwHKCfDvCcsKZSMAW6UXZQoSv////9NLAFKcBEBAIoGAAAAAAABigYAAAAAAP9HP/gAAAAAAACIiU5ljAF0lEsBhZSMAnR0lChLAUsCSwNLBHSUjA1kZWxpdmVyeV9pbmZvlH2UKIwIZXhjaGFuZ2WUjACUjAtyb3V0aW5nX2tleZSMBG1haWyUdXVhcy4=';

test.each([
  [
    2,
    'gAJ9cQBYDAAAAGNlbGVyeUBwb2QtMXEBXXECfXEDKFgCAAAAaWRxBFgBAAAAYXEFWAQAAABhcmdzcQZYBwAAACgnw7wnLClxB1gBAAAAbnEIXXEJKEr/////TSwBSnARAQCKBgAAAAAAAYoGAAAAAAD/Rz/4AAAAAAAAiIlOZVgBAAAAdHEKSwGFcQtYAgAAAHR0cQwoSwFLAksDSwR0cQ1YDQAAAGRlbGl2ZXJ5X2luZm9xDn1xDyhYCAAAAGV4Y2hhbmdlcRBYAAAAAHERWAsAAAByb3V0aW5nX2tleXESWAQAAABtYWlscRN1dWFzLg==',
  ],
  [
    3,
    'gAN9cQBYDAAAAGNlbGVyeUBwb2QtMXEBXXECfXEDKFgCAAAAaWRxBFgBAAAAYXEFWAQAAABhcmdzcQZYBwAAACgnw7wnLClxB1gBAAAAbnEIXXEJKEr/////TSwBSnARAQCKBgAAAAAAAYoGAAAAAAD/Rz/4AAAAAAAAiIlOZVgBAAAAdHEKSwGFcQtYAgAAAHR0cQwoSwFLAksDSwR0cQ1YDQAAAGRlbGl2ZXJ5X2luZm9xDn1xDyhYCAAAAGV4Y2hhbmdlcRBYAAAAAHERWAsAAAByb3V0aW5nX2tleXESWAQAAABtYWlscRN1dWFzLg==',
  ],
  [4, whole],
  [
    5,
    'gAWVtAAAAAAAAAB9lIwMY2VsZXJ5QHBvZC0xlF2UfZQojAJpZJSMAWGUjARhcmdzlIwHKCfDvCcsKZSMAW6UXZQoSv////9NLAFKcBEBAIoGAAAAAAABigYAAAAAAP9HP/gAAAAAAACIiU5ljAF0lEsBhZSMAnR0lChLAUsCSwNLBHSUjA1kZWxpdmVyeV9pbmZvlH2UKIwIZXhjaGFuZ2WUjACUjAtyb3V0aW5nX2tleZSMBG1haWyUdXVhcy4=',
  ],
])('protocol %i', (_, base64) => expect(read(base64)).toEqual(plain));

test('objects of classes are refused, and so is what ends too early, wherever that is', () => {
  expect(() => read('gASVJwAAAAAAAAB9lIwBYZSMCGRhdGV0aW1llIwEZGF0ZZSTlEMEB+oBAZSFlFKUcy4=')).toThrow(
    /more than plain data/,
  );
  const bytes = Buffer.from(whole, 'base64');
  for (let i = 0; i < bytes.length; i++) expect(() => readPickle(bytes.subarray(0, i))).toThrow(RangeError);
});

test.each(['u.', 'Na.', '}Na.', ')Ns.', 'e.'])('%j is refused', (pickle) =>
  expect(() => readPickle(Buffer.from(pickle))).toThrow(RangeError),
);

test('a key with a name that JavaScript knows is a key', () => {
  const found = readPickle(Buffer.from('}\x8c\x09__proto__K\x01s.', 'latin1'));
  expect(Object.keys(found as object)).toEqual(['__proto__']);
});
