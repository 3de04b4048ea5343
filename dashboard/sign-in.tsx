/** Asks for a Kubernetes token, whose permissions decide which pools are shown. */
import { useRef } from 'preact/hooks';
import { Icon } from './icons.tsx';
import { setToken } from './session.ts';

export function SignIn({ why }: { why: string }) {
  const field = useRef<HTMLInputElement>(null);
  return (
    <section class="blank">
      <Icon name="lock" large />
      <h1>Sign in</h1>
      <p>
        You see the pools that you may list in Kubernetes, and may act on those that you may patch. Enter a
        token of a service account, or your own:
      </p>
      <pre tabIndex={0}>kubectl create token &lt;service account&gt; --namespace &lt;its namespace&gt;</pre>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const value = field.current?.value.trim() ?? '';
          if (value === '') return field.current?.focus();
          setToken(value);
        }}
      >
        <label class="field">
          Token
          <input ref={field} type="password" autocomplete="off" spellcheck={false} required />
        </label>
        <p role="status">{why}. The token is kept in this tab only. You are signed out when it expires.</p>
        <button type="submit" class="button primary">
          Sign in
        </button>
      </form>
    </section>
  );
}
