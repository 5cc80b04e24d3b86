// Notifications and a sound for messages that nobody is looking at: by choice, and off until then.

import { setText, ui } from './dom.js';
import { mentionsMe } from './mentions.js';
import { snippet } from './message.js';
import { keep, kept } from './kept.js';

const STORED = 'alerts';
const APART = 1_500; // ms between two sounds

export class Alerts {
  #choice = { show: 'off', sound: false, ...kept(STORED) };
  #sounded = -APART;
  #audio = null;

  constructor() {
    ui.alertsShow.value = this.#choice.show;
    ui.alertsSound.checked = this.#choice.sound;
    ui.alertsShow.onchange = () => this.#choose({ show: ui.alertsShow.value });
    ui.alertsSound.onchange = () => {
      this.#choose({ sound: ui.alertsSound.checked });
      if (this.#choice.sound) this.#beep(); // so that one hears what it is
    };
  }

  /** A message of somebody else has come, and nobody is looking; `named`: it names oneself. */
  take(message, room, named = mentionsMe(message.text, room)) {
    const { show, sound } = this.#choice;
    const wanted = show === 'all' || named;
    if (sound && wanted) this.#beep();
    if (show !== 'off' && wanted) notify(message, room);
  }

  async #choose(part) {
    Object.assign(this.#choice, part);
    setText(ui.alertsSaid, '');
    if (part.show && part.show !== 'off' && !(await permitted())) {
      this.#choice.show = ui.alertsShow.value = 'off';
      setText(ui.alertsSaid, 'This browser does not let the page notify you.');
    }
    keep(STORED, this.#choice.show === 'off' && !this.#choice.sound ? null : this.#choice);
  }

  #beep() {
    const now = performance.now();
    if (now - this.#sounded < APART) return;
    this.#sounded = now;
    this.#audio ??= new AudioContext();
    const { currentTime, destination } = this.#audio;
    const [tone, volume] = [this.#audio.createOscillator(), this.#audio.createGain()];
    tone.frequency.value = 660;
    volume.gain.setValueAtTime(0.15, currentTime);
    volume.gain.exponentialRampToValueAtTime(0.001, currentTime + 0.35);
    tone.connect(volume).connect(destination);
    tone.start();
    tone.stop(currentTime + 0.4);
  }
}

async function permitted() {
  return 'Notification' in window && (await Notification.requestPermission()) === 'granted';
}

async function notify(message, room) {
  const title = `${message.name || room.nameOf(message.from)} · ${room.title}`;
  const options = { body: snippet(message.text), tag: room.key, icon: '/assets/icon.svg' };
  try {
    const notification = new Notification(title, options);
    notification.onclick = () => {
      focus();
      location.hash = encodeURIComponent(room.key);
      notification.close();
    };
  } catch {
    // Phones show notifications of service workers only.
    const worker = await navigator.serviceWorker?.getRegistration();
    await worker?.showNotification(title, { ...options, data: `/#${encodeURIComponent(room.key)}` });
  }
}
