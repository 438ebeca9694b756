import type { ServerEvent } from '@notification-server/client';
import { useRef, useState } from 'react';

import { summary } from './events';

/** Older ones were there before; nobody wants to hear of them now. */
const RECENT_MS = 10_000;
const AT_MOST_EVERY_MS = 1_000;

/** Notifications of the browser and a sound, both off until they are asked for. */
export function useAlerts() {
  const [notifies, setNotifies] = useState(() => localStorage.getItem('notifies') === 'yes' && permission() === 'granted');
  const [sounds, setSounds] = useState(false);
  const [problem, setProblem] = useState('');
  const last = useRef(0);
  const audio = useRef<AudioContext>(undefined);

  const askToNotify = async (wanted: boolean) => {
    setProblem('');
    if (wanted && permission() !== 'granted') {
      if (permission() === 'none') return setProblem('This browser shows no notifications for this page.');
      if (await Notification.requestPermission() !== 'granted') return setProblem('The browser was not allowed to.');
    }
    localStorage.setItem('notifies', wanted ? 'yes' : 'no');
    setNotifies(wanted);
  };

  const askToSound = (wanted: boolean) => {
    // Browsers let a page sound only after somebody has touched it, as now.
    if (wanted) audio.current ??= new AudioContext();
    setSounds(wanted);
  };

  const tell = (event: ServerEvent) => {
    const now = Date.now();
    const isOld = now - Date.parse(event.timestamp) > RECENT_MS;
    const [shows, beeps] = [notifies && document.hidden, sounds && audio.current];
    if (!(shows || beeps) || event.type !== 'notification' || isOld || now - last.current < AT_MOST_EVERY_MS) return;
    last.current = now;
    if (shows) new Notification(event.title ?? event.topic, { body: summary(event), tag: event.topic });
    if (beeps) beep(beeps);
  };

  return { notifies, setNotifies: askToNotify, sounds, setSounds: askToSound, problem, tell };
}

const permission = () => (typeof Notification === 'function' ? Notification.permission : 'none');

function beep(audio: AudioContext): void {
  const [tone, volume] = [audio.createOscillator(), audio.createGain()];
  tone.frequency.value = 880;
  volume.gain.setValueAtTime(0.1, audio.currentTime);
  volume.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + 0.25);
  tone.connect(volume).connect(audio.destination);
  tone.start();
  tone.stop(audio.currentTime + 0.25);
}
