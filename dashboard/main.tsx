/**
 * `dashboard/`: the page that the controller and `millrace dev` serve: takes JSON and events and draws them. It runs in a
 * browser; of the other folders it knows the types of `controller/dashboard/api.ts`.
 */
import { render } from 'preact';
import { App } from './app.tsx';
import { keepFocus } from './focus.ts';

const root = document.getElementById('app');
if (root) {
  keepFocus(root);
  render(<App />, root);
}
